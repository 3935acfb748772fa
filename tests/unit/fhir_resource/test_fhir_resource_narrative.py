"""The XHTML a narrative may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.fhir.resource.narrative import fault_in

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


@pytest.mark.parametrize(
    "inside",
    [
        "text",
        "<p>a<br/>b</p>",
        "a &amp; b &#160; &#xA0;",
        "&lt;",
        "<img src='data:image/png;base64,QQ==' alt=\"a\"/>",
        "<!-- a comment --><b>x</b>",
        '<a href="#part" title="it\'s">a</a>',
        '<a href="Patient/1">a</a><a href="mailto:a@b.example">b</a>',
        '<table border="1"><tbody><tr><td colspan="2">1</td></tr></tbody></table>',
        '<span lang="de" xml:lang="de" style="color: red">a</span>',
        '<p xmlns="http://www.w3.org/1999/xhtml">a</p >',
    ],
)
def test_basic_formatting_is_taken(inside):
    assert fault_in(f"{DIV}{inside}</div>") is None
    assert fault_in(f"\n {DIV}{inside}</div> ") is None


@pytest.mark.parametrize(
    ("div", "why"),
    [
        (f"{DIV}<script>alert(1)</script></div>", "element outside"),
        (f"{DIV}<iframe src='a'>b</iframe></div>", "element outside"),
        (f"{DIV}<form>a</form></div>", "element outside"),
        (f"{DIV}<P>a</P></div>", "element outside"),
        (f"{DIV}<p onclick='a()'>a</p></div>", "event handler"),
        (f"{DIV}<a href='javascript:a()'>a</a></div>", "could run"),
        (f"{DIV}<a href='&#106;ava\tscript:a()'>a</a></div>", "could run"),
        (f"{DIV}<a href='data:image/svg+xml,a'>a</a></div>", "could run"),
        (f"{DIV}<img src='data:text/html,a'/></div>", "could run"),
        (f"{DIV}<a href='vbscript:a'>a</a></div>", "could run"),
        (f"{DIV}a&nbsp;b</div>", "write the character itself"),
        (f"{DIV}a & b</div>", "not well-formed"),
        (f"{DIV}a < b</div>", "not well-formed"),
        (f"{DIV}<p class=a>a</p></div>", "not well-formed"),
        (f"{DIV}<p class='a' class='b'>a</p></div>", "given twice"),
        (f"{DIV}<p>a</div>", "closed that was not"),
        (f"{DIV}<p>a</p>", "is not closed"),
        (f"{DIV}<![CDATA[a]]></div>", "not well-formed"),
        (f"{DIV}<?php a ?></div>", "not well-formed"),
        (f"{DIV}<!-- a -- b --></div>", "not well-formed"),
        (f"<!DOCTYPE a>{DIV}a</div>", "not well-formed"),
        (f"{DIV}a</div>{DIV}b</div>", "nothing around it"),
        (f"{DIV}a</div>b", "nothing around it"),
        (f"a{DIV}a</div>", "nothing around it"),
        ("</div>", "nothing around it"),
        ("a", "nothing around it"),
        (" ", "is not closed"),
        ("<p>a</p>", "one XHTML div"),
        ("<div>a</div>", "xmlns"),
        ("<div xmlns='urn:other'>a</div>", "xmlns"),
        (f"{DIV} \n </div>", "no content"),
        (f"{DIV}<p/></div>", "no content"),
        ('<div xmlns="http://www.w3.org/1999/xhtml"/>', "no content"),
    ],
)
def test_what_could_run_or_is_no_xhtml_is_refused(div, why):
    assert why in fault_in(div)


@given(st.text(alphabet="<>/&;!-'\"= divpax#1", max_size=60))
def test_any_text_gets_an_answer(text):
    assert fault_in(text) is None or "alert" not in fault_in(text)
