from types import ModuleType

import pytest
from pydicom.sr import _concepts_dict
from pydicom.sr.coding import Code

from dicom_node import concepts


def _defined(module: ModuleType) -> dict[str, Code]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Code)}


def _listed_meanings(code: Code) -> set[str]:
    """What the lists that pydicom made from PS3.16 call the concept, without the kind that SNOMED CT adds."""
    scheme = _concepts_dict.concepts.get(code.scheme_designator, {})
    return {entry[code.value][0].removesuffix(" (attribute)") for entry in scheme.values() if code.value in entry}


@pytest.mark.parametrize("name", sorted(_defined(concepts)))
def test_a_concept_means_what_the_standard_says_unless_it_is_declared_an_exception(name: str) -> None:
    code = _defined(concepts)[name]
    if code in concepts.OUTSIDE_PYDICOM:
        assert not _listed_meanings(code), "listed by now: no exception any more"
    else:
        assert code.meaning in _listed_meanings(code)


def test_no_concept_is_defined_twice() -> None:
    codes = [(code.value, code.scheme_designator) for code in _defined(concepts).values()]
    assert len(codes) == len(set(codes))


def test_no_concept_names_the_disorder() -> None:
    # The node reports a suspicion score; 840539006 is |COVID-19 (disorder)|.
    assert all(code.value != "840539006" for code in _defined(concepts).values())
