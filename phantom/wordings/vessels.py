"""Diseases of vessels that flow shows."""

from __future__ import annotations

from phantom.wordings.wording import DWI, FLAIR, POST, SWI, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "arteriovenous_malformation": Wording(
        found=(
            "There is a cluster of serpentine flow voids in the {place} measuring {size}.",
            "A {size} tangle of flow voids is seen in the {place} with a wide draining vein.",
            "Tightly packed coiled flow voids are present in the {place}, {size} across.",
            "Multiple tortuous vessels form a {size} cluster in the {place}.",
        ),
        signs=(
            ((POST,), "", ("The vessels enhance in a serpentine pattern.", "Serpentine enhancement is seen after contrast.")),
            ((SWI,), "", ("The vessels are dark on the susceptibility images.",)),
        ),
        impression=(
            "Findings are consistent with an arteriovenous malformation of the {place}.",
            "{Place} arteriovenous malformation.",
            "Cluster of flow voids, typical of an AVM of the {place}.",
        ),
    ),
    "cerebral_aneurysm": Wording(
        found=(
            "There is a round flow void of {size} beside a basal artery.",
            "A {size} rounded flow void arises from a basal artery.",
            "Round signal void in the {region} measuring {size}, continuous with an artery.",
            "A smooth round vascular outpouching of {size} lies in the {region}.",
        ),
        signs=(
            ((POST,), "", ("Its lumen fills with contrast.", "The lumen enhances after contrast.")),
            ((T1,), "thrombosed", ("A bright crescent on T1 indicates mural thrombus.", "Its wall holds T1 bright clot.")),
            ((T2,), "", ("It is black on T2.",)),
        ),
        impression=(
            "Findings are consistent with a cerebral aneurysm of {size}.",
            "{Size} aneurysm of a basal artery.",
            "Saccular aneurysm measuring {size}; angiography is advised.",
        ),
    ),
    "moyamoya": Wording(
        found=(
            "There are many small flow voids in the basal ganglia {on}.",
            "Multiple punctate flow voids are seen in the basal ganglia {on} and the basal cisterns.",
            "Numerous tiny collateral vessels traverse the basal ganglia {on}.",
            "{Side} basal ganglia contain a network of small flow voids, and foci of signal change lie in the watershed zones.",
        ),
        signs=(
            ((FLAIR,), "", ("Sulci are bright on FLAIR (ivy sign).", "An ivy sign is seen on FLAIR over the convexity.")),
            ((POST,), "", ("There is leptomeningeal enhancement.", "The leptomeninges enhance along the sulci.")),
            ((DWI,), "acute", ("Watershed foci show restricted diffusion.", "Foci in the watershed zones are bright on diffusion.")),
        ),
        impression=(
            "Findings are consistent with moyamoya disease {on}.",
            "{Side} moyamoya vasculopathy.",
            "Basal collateral vessels and watershed lesions {on}, suggesting moyamoya.",
        ),
    ),
}
