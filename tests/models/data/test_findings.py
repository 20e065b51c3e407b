import pytest

from models.data.findings import DataError, Findings, Notices, few, shown


def test_one_problem_is_one_line():
    findings = Findings("a.json")
    findings.refuse()
    findings.problem("annotation 7 of image 1 (x.png)", "bbox", "[1] is not four numbers")
    with pytest.raises(DataError) as caught:
        findings.refuse()
    assert str(caught.value) == "a.json: annotation 7 of image 1 (x.png): bbox [1] is not four numbers"


def test_twenty_problems_are_reported_and_the_others_counted():
    findings = Findings("a.json")
    for index in range(30):
        findings.problem(f"annotation {index}", "bbox" if index % 2 else "iscrowd", "is odd")
    lines = str(findings.error()).splitlines()
    assert lines[0] == "a.json: 30 problems"
    assert lines[20] == "  annotation 19: bbox is odd"
    assert lines[21] == "  and 10 more: 5 of iscrowd, 5 of bbox"
    assert len(findings.error().problems) == 30


def test_notices_count_and_give_examples():
    findings = Findings("a.json")
    for index in range(5):
        findings.notice("boxes without an area, left out", f"annotation {index}")
    findings.notice("boxes outside their image, left out", "annotation 9")
    notices = findings.notices().also("crowds", 2).also("nothing", 0)
    assert notices.lines() == [
        "a.json: boxes without an area, left out: 5 (annotation 0, annotation 1, annotation 2, ...)",
        "a.json: boxes outside their image, left out: 1 (annotation 9)",
        "a.json: crowds: 2",
    ]
    assert notices.counted("crowds") == 2
    assert notices.counted("nothing") == 0
    assert notices.as_json()[1] == {
        "what": "boxes outside their image, left out",
        "count": 1,
        "examples": ["annotation 9"],
    }
    assert Notices().lines() == []


def test_long_values_are_cut():
    assert shown("x") == "'x'"
    assert len(shown("x" * 1000)) < 80


def test_few_names_the_first_and_counts_the_others():
    assert few(("a", "b")) == "a, b"
    assert few([str(index) for index in range(80)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 72 more"
