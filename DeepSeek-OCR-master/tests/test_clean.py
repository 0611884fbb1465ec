import pytest

from deepseek_ocr.page import PageReader
from deepseek_ocr.style import MarkdownStyle


def shown(text, **more):
    reader = PageReader(100, 100, **more)
    reader.feed(text)
    reader.finish()
    return reader.markdown


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a third- party cloud- hosted tool", "a third-party cloud-hosted tool"),
        ("2025- 02- 18, BV- 01- C", "2025-02-18, BV-01-C"),
        ("Non- U.S. persons", "Non-U.S. persons"),
        ("in [1], [75]- [77]. Such as (5)- (7)", "in [1], [75]-[77]. Such as (5)-(7)"),
        ("an end- to- end test, state- of- the- art", "an end-to-end test, state-of-the-art"),
        # A hyphen that belongs to a word left out stays with its space.
        ("pre- and post-war", "pre- and post-war"),
        ("Vor- und Nachteile", "Vor- und Nachteile"),
        ("Binomial- durch Normalverteilung", "Binomial- durch Normalverteilung"),
        ("pre- et post-", "pre- et post-"),
        ("in- och utgång", "in- och utgång"),
        # So does one before a capital and a small letter, and one between spaces.
        ("Wi- Fi", "Wi- Fi"),
        ("limited - - access", "limited - - access"),
    ],
)
def test_the_space_after_a_hyphen_goes(written, meant):
    assert shown(written) == meant
    assert shown(written, style=MarkdownStyle(clean=False)) == written


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("- One.- Two:- three", "- One.\n- Two:\n- three"),
        ("Steps:- Open- Turn it (now)- Close", "Steps:\n- Open\n- Turn it (now)\n- Close"),
        ("Condition- One part. It is fine.", "Condition- One part. It is fine."),
        ("- Use Wi- Fi.- Or non- Fi", "- Use Wi- Fi.\n- Or non- Fi"),
        ("[7] A. B. First. [8] C. Second. [9] D.", "[7] A. B. First.\n\n[8] C. Second.\n\n[9] D."),
        ("[7] A, see [18], [33] and [9] D.", "[7] A, see [18], [33] and [9] D."),
        ("As in [7] and [8] it is.", "As in [7] and [8] it is."),
        ("[7] First.\n[8] Second. [9] Third.", "[7] First.\n[8] Second.\n\n[9] Third."),
    ],
)
def test_items_and_references_get_lines_of_their_own(written, meant):
    assert shown(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2150*2150*1130mm", r"2150\*2150\*1130mm"),
        ("x=2**3 and 4**5; f(x)*(y)", r"x=2\*\*3 and 4\*\*5; f(x)\*(y)"),
        ("the *unit* and **Note:** three ***x***", "the *unit* and **Note:** three ***x***"),
        ("重要**内容**后", "重要**内容**后"),
        ("M* or N*: both (*)", r"M\* or N\*: both (\*)"),
        ("a * b * c", "a * b * c"),
        ("* item and 3*4", r"* item and 3\*4"),
        ("US$5 and US$10", r"US\$5 and US\$10"),
        (r"already \$5", r"already \$5"),
        ("__init__ and a_b_c, _x_", r"\_\_init__ and a_b_c, \_x_"),
        ("Name: ________ Date: ____", "Name: ________ Date: ____"),
        ("________", r"\________"),
        ("cp <package> <b>x</b> a<b", r"cp \<package> <b>x</b> a\<b"),
        ("![x](http://h/p.gif) [a](b)", "![x]&#40;http://h/p.gif) [a]&#40;b)"),
        ("`a*b$c` 3*4", r"`a*b$c` 3\*4"),
    ],
)
def test_printed_signs_stay_printed(written, meant):
    assert shown(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"is \( x^2 \) here", "is $x^2$ here"),
        (r"costs \(5\$\) or \(6$\)", r"costs $5\$$ or $6\$$"),
        (r"10\(^{6}\) and \(x\)5 or 2,5\(\times\)3", r"$10^{6}$ and $x5$ or $2,5\times3$"),
        (r"\(a\)\(b\)", "$a b$"),
        (r"\(\)", ""),
        (r"\[x = 1\]", "$$\nx = 1\n$$"),
        (r"so \[x = 1\]. Then", "so\n\n$$\nx = 1\n$$\n\n. Then"),
        (r"so \[x = 1\].", "so\n\n$$\nx = 1.\n$$"),
        ("\\[\nx\n\\]", "$$\nx\n$$"),
        (r"\(a = b\]", "$a = b$"),
        (r"\[\begin{ bmatrix} 1 \end{bmatrix }\]", "$$\n\\begin{bmatrix} 1 \\end{bmatrix}\n$$"),
        ("\\begin{align*}\na &= b\n\\end{align*}", "$$\n\\begin{align*}\na &= b\n\\end{align*}\n$$"),
        (r"law \[ 1995 \] no. 288", "law [1995] no. 288"),
        (r"\[ 1995 \]", "$$\n1995\n$$"),
        (r"\(①\) open, \( ② \) close \(x③\)", "① open, ② close $x③$"),
        (r"no end \( here, no \[ there", "no end ( here, no [ there"),
        ("no \\(\n\nend\\)", "no (\n\nend)"),
        (r"lost \(u, but \(v\) is \(w", "lost (u, but $v$ is (w"),
        (r"# Title \[x\]", "# Title $x$"),
        (r"<td a`b`>c \(x\)", r"\<td a`b`>c $x$"),
    ],
)
def test_formulas(written, meant):
    assert shown(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "<table><tr><td>a</td><td>b|c</td></tr><tr><td>1*2</td><td></td></tr></table>",
            "| a | b\\|c |\n| --- | --- |\n| 1\\*2 |  |",
        ),
        (
            "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>x<br/>y</td></tr></tbody></table>",
            "| a |\n| --- |\n| x<br>y |",
        ),
        (r"<table><tr><td>\(|x|\) and \(\|y\|\)</td></tr></table>", r"| $\|x\|$ and $\Vert y\Vert $ |" "\n| --- |"),
        ("<table><tr><td>US$5</td><td>&lt;f&gt; <b>x</b> <q></td></tr></table>",
         "| US\\$5 | &lt;f&gt; <b>x</b> \\<q> |\n| --- | --- |"),
        ("see <table><tr><td>a</td></tr></table> there", "see\n\n| a |\n| --- |\n\nthere"),
        # Spans, ragged rows and damage stay HTML: a browser mends it.
        ('<table><tr><td colspan="2">a</td></tr></table>', '<table><tr><td colspan="2">a</td></tr></table>'),
        ("<table><tr><td>a</td></tr><tr><td>b</td><td>c</td></tr></table>",
         "<table><tr><td>a</td></tr><tr><td>b</td><td>c</td></tr></table>"),
        ("<table><tr><tr><td>a</td></tr></table>", "<table><tr><tr><td>a</td></tr></table>"),
        (r'<table><tr><td rowspan="2">\(a<b\)</td><td>US$5</td></tr></table>',
         '<table><tr><td rowspan="2">$a&lt;b$</td><td>US&#36;5</td></tr></table>'),
        (r"<table><tr><td>\(⑩\)</td></tr></table>", "| ⑩ |\n| --- |"),
        ("<table><tr><td>a</td>\n\n<td>b</td><tr></table>", "<table><tr><td>a</td>\n<td>b</td><tr></table>"),
        # The model's own pipes: as many cells in every row as in the longest.
        ("| a | b |\n|---|:-:|\n| 1 | 2 | 3* |", "| a | b |  |\n| --- | :---: | --- |\n| 1 | 2 | 3\\* |"),
        ("| no table |\nat all", "| no table |\nat all"),
    ],
)  # fmt: skip
def test_tables(written, meant):
    assert shown(written) == meant


def test_many_openings_of_formulas_take_no_time():
    assert shown("\\( " * 20_000).count("(") == 20_000
    assert shown("\\[ \n" * 5_000).count("[") == 5_000
    assert shown("*a " * 20_000).count("\\*a") == 20_000


def test_a_number_of_many_digits_takes_no_time():
    digits = "1" * 100_000
    assert shown(f"a {digits} b") == f"a {digits} b"
    assert shown(f"\\(x\\) a {digits}\\(y\\)").endswith(f" ${digits}y$")
