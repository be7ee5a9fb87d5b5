#!/bin/sh
# Fetches the viewer again: NiiVue 0.69.0 (BSD-2-Clause, see LICENSE), the self-contained ES module of its npm package.
# `dist/index.min.js` and `build/` are not usable without a bundler. The bundle also holds its MIT-licensed dependencies:
# @lukeed/uuid, @ungap/structured-clone (ISC), array-equal, fflate, gl-matrix, nifti-reader-js, numcodecs, zarrita.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent @niivue/niivue@0.69.0
tar xzf niivue-niivue-0.69.0.tgz package/dist/index.js
cp package/dist/index.js "$here/index.js"
cd "$here"
sha256sum -c index.js.sha256
