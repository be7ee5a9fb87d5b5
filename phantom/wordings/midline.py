"""Masses and cysts of the midline."""

from __future__ import annotations

from phantom.wordings.wording import ADC, DWI, FLAIR, POST, SWI, T1, T2, Wording

WORDINGS: dict[str, Wording] = {
    "colloid_cyst": Wording(
        found=(
            "There is a round well-defined lesion at the foramen of Monro measuring {size}.",
            "A {size} smooth cyst lies in the anterior roof of the {region}.",
            "Rounded lesion of the anterior {region}, {size}, at the level of the foramen of Monro.",
            "A well-circumscribed {size} cyst is seen between the columns of the fornix.",
        ),
        signs=(
            ((T1,), "", ("It is bright on T1.", "The lesion is T1 hyperintense.", "Its contents are bright on unenhanced T1.")),
            ((T2,), "", ("On T2 it is darker than fluid.",)),
            ((T1, POST), "", ("It shows no enhancement.", "No internal enhancement is seen.")),
        ),
        impression=(
            "Colloid cyst of the {region}.",
            "Findings are typical of a colloid cyst at the foramen of Monro.",
            "Cyst at the foramen of Monro, consistent with a colloid cyst.",
            "{Size} colloid cyst at the foramen of Monro.",
        ),
    ),
    "rathkes_cleft_cyst": Wording(
        found=(
            "There is a smooth round midline cyst in the {region} measuring {size}.",
            "A {size} well-defined cyst lies in the midline of the pituitary gland.",
            "Rounded cystic lesion of the {region}, {size}, surrounded by normal gland.",
            "A non-calcified {size} midline cyst is present within the pituitary gland.",
        ),
        signs=(
            ((T1,), "mucoid", ("It is bright on T1.", "The cyst is T1 hyperintense, in keeping with mucoid contents.")),
            ((T1,), "serous", ("It is of low signal on T1.", "On T1 it is darker than brain.")),
            ((FLAIR,), "", ("It is bright on FLAIR.", "Its contents are not suppressed on FLAIR.")),
            (
                (T1, POST),
                "",
                (
                    "The cyst does not enhance; the gland around it does.",
                    "No enhancement of the cyst itself.",
                    "Its wall shows no nodular enhancement.",
                ),
            ),
        ),
        impression=(
            "Rathke's cleft cyst.",
            "Midline cyst of the {region}, consistent with a Rathke's cleft cyst.",
            "Findings are typical of a Rathke cleft cyst.",
            "Sellar cyst of {size}, most likely a Rathke's cleft cyst.",
        ),
    ),
    "craniopharyngioma": Wording(
        found=(
            "There is a lobulated suprasellar mass measuring {size}.",
            "A {size} mass fills the suprasellar cistern.",
            "Suprasellar mass, {size}, that reaches toward the floor of the third ventricle.",
            "A {size} midline mass lies above the sella.",
        ),
        signs=(
            ((T1,), "cystic", ("Its cysts are bright on T1.", "The cystic portions are T1 hyperintense.")),
            ((SWI,), "cystic", ("Foci of susceptibility in its wall indicate calcification.", "Dark foci suggest calcium in the wall.")),
            ((POST,), "cystic", ("The wall and the solid portion enhance.", "There is rim enhancement of the cysts.")),
            ((POST,), "papillary", ("The mass is solid and enhances.", "There is solid enhancement.")),
        ),
        impression=(
            "Suprasellar mass, most consistent with a craniopharyngioma.",
            "Findings are typical of a craniopharyngioma.",
            "Suspected craniopharyngioma, {size}.",
            "Suprasellar craniopharyngioma.",
        ),
    ),
    "pineal_tumor": Wording(
        found=(
            "There is a lobulated mass of the {region} measuring {size}.",
            "A {size} mass arises from the pineal gland and presses on the tectum.",
            "Mass in the {region}, {size}, with compression of the tectal plate.",
            "The pineal gland is replaced by a {size} mass.",
        ),
        signs=(
            ((POST,), "", ("It enhances.", "There is strong enhancement.", "The mass enhances after contrast.")),
            ((DWI, ADC), "", ("It shows no restricted diffusion.", "Diffusion is not restricted in the mass.")),
        ),
        impression=(
            "Pineal region mass, most consistent with a pineal tumor.",
            "Findings are consistent with a pineal tumor.",
            "Pineal tumor of {size}.",
            "Solid pineal mass, pineocytoma favored.",
        ),
    ),
    "germ_cell_tumor": Wording(
        found=(
            "There is a homogeneous midline mass in the {region} measuring {size}.",
            "A {size} solid mass is centered in the {region}.",
            "Well-defined solid mass of the {region}, {size} in diameter.",
            "Solid cellular-appearing mass in the {region}, {size}.",
        ),
        several=(
            "There are two midline masses, pineal and suprasellar, the larger in the {region} measuring {size}.",
            "Synchronous solid masses lie in the pineal region and the suprasellar cistern, the larger {size}.",
            "Paired pineal and suprasellar masses are present, up to {size}.",
        ),
        signs=(
            ((DWI,), "", ("It shows restricted diffusion.", "Diffusion is restricted, in keeping with high cellularity.")),
            (
                (POST,),
                "",
                ("There is strong homogeneous enhancement.", "It enhances avidly.", "Intense uniform enhancement after contrast."),
            ),
        ),
        impression=(
            "Midline mass of the {region}, most consistent with a germ cell tumor.",
            "Findings suggest a germinoma of the {region}.",
            "Suspected germ cell tumor in the {region}.",
            "Solid midline mass, germinoma favored.",
        ),
        several_impression=(
            "Synchronous pineal and suprasellar masses, typical of a germ cell tumor.",
            "Bifocal germinoma of the pineal and suprasellar regions.",
            "Findings are most consistent with a bifocal germ cell tumor.",
        ),
    ),
}
