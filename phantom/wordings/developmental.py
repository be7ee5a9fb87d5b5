"""Malformations, and the brain that sags."""

from __future__ import annotations

from phantom.wordings.wording import FLAIR, POST, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "dandy_walker_malformation": Wording(
        found=(
            "There is a large midline cystic space in the posterior fossa that communicates with the fourth ventricle.",
            "The fourth ventricle opens into a {size} posterior fossa cyst, and the vermis is small.",
            "The inferior vermis is absent and a large fluid space fills the posterior fossa.",
            "Hypoplastic and elevated vermis with cystic dilatation of the fourth ventricle, {size}.",
        ),
        signs=(
            ((FLAIR,), "", ("The cyst follows cerebrospinal fluid on FLAIR.", "It is suppressed on FLAIR.")),
            ((T2,), "", ("The cerebellar hemispheres are spread apart.", "The cerebellar hemispheres are displaced laterally.")),
        ),
        impression=(
            "Dandy-Walker malformation.",
            "Findings are typical of a Dandy-Walker malformation.",
            "Posterior fossa cyst with vermian hypoplasia, consistent with Dandy-Walker malformation.",
        ),
    ),
    "dysgenesis_corpus_callosum": Wording(
        found=(
            "There is {stage} absence of the corpus callosum.",
            "The corpus callosum shows {stage} agenesis, with wide occipital horns.",
            "{Stage} absence of the callosum is seen.",
            "Normal callosal fibers are not seen, in keeping with {stage} agenesis.",
        ),
        signs=(
            (
                (T2,),
                "complete",
                (
                    "The lateral ventricles run parallel and the third ventricle is high.",
                    "The bodies of the lateral ventricles are widely separated and parallel.",
                    "The interhemispheric fissure extends down to a high-riding third ventricle.",
                ),
            ),
            ((T2,), "partial", ("The genu is present and the splenium is absent.", "The posterior body and splenium are missing.")),
            ((T1,), "", ("The atria and occipital horns are disproportionately large.", "There is colpocephaly.")),
        ),
        impression=(
            "{Stage} agenesis of the corpus callosum.",
            "Findings are consistent with {stage} callosal dysgenesis.",
            "Dysgenesis of the corpus callosum with colpocephaly.",
            "{Stage} callosal agenesis.",
        ),
    ),
    "heterotopia": Wording(
        found=(
            "There is a band of tissue with the signal of gray matter within the white matter of both hemispheres.",
            "A smooth layer isointense to cortex runs beneath the cortex on both sides.",
            "A second layer of gray matter is seen within the white matter bilaterally.",
            "Bilateral subcortical band that follows gray matter on all sequences.",
        ),
        several=(
            "There are {foci} nodules along the lateral ventricles {on} that follow gray matter on all sequences.",
            "Periventricular nodules isointense to cortex are seen {on}, the largest {size}.",
            "{Side} subependymal nodules with the signal of gray matter measure up to {size}.",
            "{Foci} nodules of gray matter signal line the walls of the lateral ventricles {on}.",
        ),
        signs=(
            ((POST,), "", ("No enhancement of this tissue is seen.",)),
            ((FLAIR,), "nodular", ("The nodules match cortex on FLAIR.", "They are isointense to cortex on FLAIR.")),
            ((T1,), "band", ("On T1 the band matches cortex.", "It is isointense to cortex on T1.")),
        ),
        impression=(
            "{Side} {stage} gray matter heterotopia.",
            "Subcortical band heterotopia.",
            "Findings are typical of band heterotopia.",
        ),
        several_impression=(
            "{Side} periventricular nodular heterotopia.",
            "Findings are consistent with {side} subependymal gray matter heterotopia.",
            "Periventricular nodules, typical of heterotopia.",
        ),
    ),
    "chiari_malformation": Wording(
        found=(
            "The cerebellar tonsils extend {size} below the foramen magnum.",
            "There is descent of the cerebellar tonsils through the foramen magnum by {size}.",
            "Peg-like cerebellar tonsils lie {size} below the level of the foramen magnum.",
            "Low-lying pointed cerebellar tonsils reach {size} below the foramen magnum.",
        ),
        signs=(
            (
                (T2,),
                "",
                (
                    "The cisterna magna is obliterated and the foramen magnum is crowded.",
                    "There is crowding at the foramen magnum.",
                    "The tonsils fill the foramen magnum beside the medulla.",
                ),
            ),
            ((T1,), "", ("The posterior fossa is small.", "The tonsils are pointed.")),
        ),
        impression=(
            "Chiari I malformation.",
            "Findings are consistent with a Chiari malformation.",
            "Tonsillar descent of {size}, in keeping with Chiari I malformation.",
            "Chiari malformation with crowding of the foramen magnum.",
        ),
    ),
    "intracranial_hypotension": Wording(
        found=(
            "There is smooth diffuse thickening of the pachymeninges over both hemispheres.",
            "The dura is evenly thickened on both sides, {size}.",
            "Diffuse smooth pachymeningeal thickening up to {size} is present.",
            "The brain lies low, with even dural thickening all around.",
        ),
        signs=(
            (
                (POST,),
                "",
                (
                    "There is diffuse smooth pachymeningeal enhancement.",
                    "The dura enhances evenly and without nodules.",
                    "Diffuse dural enhancement is seen over both hemispheres.",
                ),
            ),
            ((FLAIR,), "effusions", ("Thin fluid layers lie beneath the dura on both sides.", "There are thin bilateral effusions.")),
        ),
        impression=(
            "Findings are consistent with intracranial hypotension.",
            "Diffuse pachymeningeal thickening, typical of spontaneous intracranial hypotension.",
            "Intracranial hypotension.",
            "Dural thickening with sagging, most consistent with intracranial hypotension.",
        ),
    ),
}
