"""What loses something asks at a terminal first, and only a yes goes on."""
import pytest

from harness.terminal import END, INTERRUPT, NO, YES, at_terminal


@pytest.mark.spec("F-058")
@pytest.mark.parametrize("answer, code, words", [
    pytest.param(NO, 2, "not confirmed, nothing was changed", id="no"),
    pytest.param(b"\n", 2, "not confirmed, nothing was changed", id="nothing"),
    pytest.param(b"nyes\n", 2, "not confirmed, nothing was changed", id="neither"),
    pytest.param(END, 2, "not confirmed, nothing was changed", id="end"),
    pytest.param(INTERRUPT, 130, "not confirmed, nothing was changed", id="ctrl-c"),
    pytest.param(YES, 0, "revision", id="yes"),
])
def test_only_a_yes_goes_on(site, answer, code, words):
    """The question names what goes; after anything else nothing has changed."""
    site.ctl("public-mailbox add Sales acl=user:alice:full")
    before = site.revision
    shown, ended = at_terminal(site.ctl, "public-mailbox remove Sales", answer)
    assert (ended, words in shown) == (code, True), (ended, shown)
    assert "public-mailbox Sales" in shown.split("Go on?")[0], shown
    if answer == YES:
        assert site.revision > before and "Sales" not in site.ctl("public-mailbox list -o name").names
    else:
        assert site.revision == before and "Sales" in site.ctl("public-mailbox list -o name").names
        again = site.ctl("public-mailbox remove Sales", code=2)   # and without a terminal nobody is asked
        assert "without a terminal it needs --yes" in again.err and site.revision == before
