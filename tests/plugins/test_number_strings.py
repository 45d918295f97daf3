"""What one short text states as a number: two tables, the texts that state one and the texts that state none."""

# ruff: noqa: RUF001  (look-alike characters are part of what is tested)
from __future__ import annotations

from fractions import Fraction

import pytest

from rlvr_plugins.verifiers.numbers import parse_number

# fmt: off
STATED: list[tuple[str, int | str]] = [
    # Integers, leading zeros
    ("72", 72), ("0", 0), ("5", 5), ("1000000", 1000000), ("123456789012345678901", 123456789012345678901), ("007", 7),
    ("00", 0), ("-007", -7), ("0072", 72),
    # Signs: hyphen, minus, en dash, full-width minus, Unicode hyphens, and the plus sign
    ("-5", -5), ("+5", 5), ("- 5", -5), ("+ 5", 5), ("-0", 0), ("−5", -5), ("− 5", -5), ("–5", -5), ("－5", -5),
    ("\u20105", -5), ("\u20115", -5), ("-3.5", "-3.5"), ("−3.5", "-3.5"), ("+3.5", "3.5"), ("-.5", "-0.5"),
    # Decimals
    ("3.50", "3.5"), (".5", "0.5"), ("1.0", 1), ("0.1", "0.1"), ("0.50", "0.5"), ("3.14159", "3.14159"), ("72.00", 72),
    ("000.5", "0.5"), ("0.30000000000000004", "0.30000000000000004"),
    # Trailing punctuation
    ("72.", 72), ("72!", 72), ("72;", 72), ("72,", 72), ("3.5.", "3.5"), ("1,000.", 1000), ("1,000,", 1000),
    ("$72.", 72), ("-5.", -5), ("25%.", 25), ("72 apples.", 72), ("72 apples!", 72), ("1/2.", "1/2"),
    # Currency
    ("$108", 108), ("$ 1,000.00", 1000), ("$0.75", "0.75"), ("$.50", "0.5"), ("-$5", -5), ("$-5", -5), ("−$5", -5),
    ("- $5", -5), ("+$5", 5), (r"\$18", 18), (r"-\$18", -18), (r"\$1{,}000", 1000), ("US$ 5", 5), ("US$5", 5),
    ("5 USD", 5), ("USD 5", 5), ("5$", 5), ("€7", 7), ("7 €", 7), ("7€", 7), ("€ 7", 7), ("£3.50", "3.5"), ("£12", 12),
    ("3 £", 3), ("₹72", 72), ("₹ 1,00,000", 100000), ("¥500", 500), ("500 ¥", 500), ("5 dollars", 5), ("75 cents", 75),
    ("7 euros", 7), ("-$1,234.50", "-1234.5"),
    # Thousands: commas, and commas in LaTeX
    ("360,000", 360000), ("1,000", 1000), ("1,234,567.89", "1234567.89"), ("12,345", 12345), ("-1,000", -1000),
    ("1,000.50", "1000.5"), ("360{,}000", 360000), ("1{,}234{,}567", 1234567), (r"360\,000", 360000),
    (r"1\,234\,567", 1234567),
    # Thousands: space, no-break, thin and narrow no-break space
    ("360 000", 360000), ("1 234 567", 1234567), ("1 000.50", "1000.5"), ("-1 000", -1000), ("360\u00a0000", 360000),
    ("1\u00a0234\u00a0567", 1234567), ("360\u2009000", 360000), ("1\u2009234\u2009567", 1234567),
    ("360\u202f000", 360000), ("1\u202f234\u202f567.5", "1234567.5"),
    # Thousands: European and Indian
    ("1.000,50", "1000.5"), ("1.234,56", "1234.56"), ("1.234.567,89", "1234567.89"), ("1.000.000", 1000000),
    ("12.345.678", 12345678), ("€1.000,50", "1000.5"), ("1,00,000", 100000), ("12,34,567", 1234567),
    ("10,00,000", 1000000), ("1,00,000.50", "100000.5"),
    # Units after
    ("18 apples", 18), ("72 km/h", 72), ("18 eggs/day", 18), ("$9/hour", 9), ("$9 per hour", 9), ("72 m^2", 72),
    ("72 m²", 72), ("72 m^{2}", 72), ("72 cm³", 72), ("72 cm^3", 72), ("72 m/s^2", 72), ("72 m/s²", 72), ("5kg", 5),
    ("5 kg", 5), ("3.5 kg", "3.5"), ("100mL", 100), ("60 miles per hour", 60), ("72 sq ft", 72), ("1,000 apples", 1000),
    ("-5 degrees", -5), ("18 eggs per day", 18), ("3 hours", 3),
    # Degrees
    ("72°", 72), ("72 °C", 72), ("72°F", 72), ("-5 °C", -5), (r"72^\circ", 72), (r"72^{\circ}", 72),
    (r"72^\circ\text{C}", 72),
    # Words before, and whole sentences
    ("about 72", 72), ("approximately 72 apples", 72), ("There are 72 apples in total.", 72), ("Answer: 72", 72),
    ("A: 72", 72), ("answer: 72", 72), ("The answer is 72.", 72), ("Final answer: $72", 72), ("Answer: -5", -5),
    ("Answer: 1/2", "1/2"), ("So the answer is 72 apples.", 72), ("She has $72 left.", 72), ("The answer is -5.", -5),
    ("It costs £3.50 in total.", "3.5"), ("The total is $1,234.50.", "1234.5"),
    # Percent
    ("25%", 25), ("25 %", 25), (r"25\%", 25), (r"25 \%", 25), ("25 percent", 25), ("-25%", -25), ("12.5%", "12.5"),
    ("0.5 %", "0.5"), (r"$25\%$", 25), ("**25%**", 25), (r"\boxed{25\%}", 25), ("The answer is 25%.", 25),
    # Fractions
    ("1/2", "1/2"), ("-3/4", "-3/4"), ("−3/4", "-3/4"), ("3 / 4", "3/4"), ("3/4 cup", "3/4"), ("48/2", 24), ("6/3", 2),
    ("22/7", "22/7"), ("+3/4", "3/4"), ("0/5", 0), ("½", "1/2"), ("¼", "1/4"), ("¾", "3/4"), ("⅓", "1/3"),
    ("-½", "-1/2"), ("½ cup", "1/2"), ("1⁄2", "1/2"), ("3⁄4 cup", "3/4"), ("The answer is 3/4.", "3/4"),
    # Mixed numbers
    ("3 1/2", "7/2"), ("3½", "7/2"), ("3 ½", "7/2"), ("-3 1/2", "-7/2"), ("-3½", "-7/2"), ("−3 1/2", "-7/2"),
    ("1 3/4", "7/4"), ("10 3/4", "43/4"), ("3 1/2 cups", "7/2"), ("2¾ cups", "11/4"), (r"3\frac{1}{2}", "7/2"),
    (r"3 \frac{1}{2}", "7/2"), (r"3 \frac12", "7/2"), (r"-3\frac{1}{2}", "-7/2"), (r"3\dfrac{1}{2}", "7/2"),
    (r"\boxed{3\frac{1}{2}}", "7/2"),
    # LaTeX fractions
    (r"\frac{1}{2}", "1/2"), (r"\dfrac{3}{4}", "3/4"), (r"\tfrac{1}{4}", "1/4"), (r"\dfrac12", "1/2"),
    (r"\frac34", "3/4"), (r"\frac1{2}", "1/2"), (r"-\frac{1}{2}", "-1/2"), (r"-\dfrac{3}{4}", "-3/4"),
    (r"\frac{-1}{2}", "-1/2"), (r"\frac{ 3 }{ 4 }", "3/4"), (r"\frac{10}{4}", "5/2"), (r"$\frac{1}{2}$", "1/2"),
    (r"\(\frac{3}{4}\)", "3/4"), (r"\frac{3}{4} \text{ cup}", "3/4"),
    # LaTeX text, fonts and spacing
    (r"\text{42}", 42), (r"72 \text{ apples}", 72), (r"72\text{ apples}", 72), (r"\text{72 apples}", 72),
    (r"72\,\text{km}", 72), (r"72\ \text{km}", 72), (r"72\;\text{km}", 72), (r"72\,\mathrm{km/h}", 72),
    (r"\mathrm{72}", 72), (r"\mathbf{72}", 72), (r"\textbf{72}", 72),
    # LaTeX boxes
    (r"\boxed{42}", 42), (r"\boxed{\text{42}}", 42), (r"\boxed{\frac{1}{2}}", "1/2"), (r"\boxed{\boxed{7}}", 7),
    (r"$\boxed{72}$", 72), (r"\boxed{-5}", -5), (r"\boxed{3.5}", "3.5"), (r"\boxed{1{,}000}", 1000),
    (r"\boxed{1,000}", 1000), (r"\boxed{\$18}", 18), (r"\boxed{72}.", 72), (r"\boxed{72 \text{ apples}}", 72),
    (r"\boxed{ 72 }", 72), (r"\boxed{x = 5}", 5), (r"The answer is \boxed{72}.", 72), (r"\(\boxed{72}\)", 72),
    (r"\[ \boxed{72} \]", 72),
    # LaTeX mathematics
    (r"\(72\)", 72), (r"\[72\]", 72), ("$72$", 72), ("$$72$$", 72), ("$-5$", -5), ("$ 72 $", 72), ("$1,000$", 1000),
    ("$x = 72$", 72), (r"$72 \text{ apples}$", 72), ("The answer is $72$.", 72), (r"\( -5 \)", -5),
    (r"\left(72\right)", 72), (r"\left( -5 \right)", -5),
    # Markdown
    ("**72**", 72), ("*72*", 72), ("__72__", 72), ("_72_", 72), ("`72`", 72), ("***72***", 72), ("**72** apples", 72),
    ("**72 apples**", 72), ("**Answer:** 72", 72), ("**Answer**: 72", 72), ("**Answer: 72**", 72), ("**$72**", 72),
    ("**-5**", -5), ("**1/2**", "1/2"), ("**72.**", 72), ("**72**.", 72), ("`3.5`", "3.5"),
    ("The answer is **72**.", 72), ("**1,000**", 1000),
    # Full-width forms
    ("７２", 72), ("１，０００", 1000), ("＄７２", 72), ("－５", -5), ("＋５", 5), ("３．５", "3.5"),
    ("７２％", 72), ("１／２", "1/2"), ("（７２）", 72), ("￥５００", 500),
    # Scientific notation and powers of ten
    ("1e3", 1000), ("1.0e+3", 1000), ("5E-2", "0.05"), ("-1e3", -1000), ("2.5e-3", "0.0025"), ("1e0", 1),
    ("10^3", 1000), ("10^{3}", 1000), ("10^-2", "0.01"), ("10^{-2}", "0.01"), ("10³", 1000), ("10²", 100),
    ("1.5 × 10^3", 1500), ("1.5×10^3", 1500), (r"1.5 \times 10^{3}", 1500), (r"3 \times 10^{-2}", "0.03"),
    ("-2 × 10^3", -2000), ("2*10^3", 2000), ("2 * 10^3", 2000), ("2 × 10³", 2000), (r"2 \cdot 10^3", 2000),
    ("6.02 × 10^23", "6.02e23"), (r"$1.5 \times 10^3$", 1500),
    # Equations
    ("x = 72", 72), ("x=-5", -5), ("x = 3.5", "3.5"), ("x = 1/2", "1/2"), (r"x = \frac{1}{2}", "1/2"), ("y = -3", -3),
    ("48/2 = 24", 24), (r"\frac{48}{2} = 24", 24), (r"48 \div 2 = 24", 24), ("6 * 4 = 24", 24), ("6 × 4 = 24", 24),
    (r"6 \times 4 = 24", 24), ("(1 + 2) * 3 = 9", 9), ("100 - 28 = 72", 72), ("5 + 3 = 8 apples", 8), ("5 + 3 = 8", 8),
    ("$5 + $3 = $8", 8), ("5 × $3 = $15", 15), ("2^3 = 8", 8), ("Total = $72", 72), ("total cost = $1,000", 1000),
    ("24 = 24", 24), ("x ≈ 3.14", "3.14"), (r"x \approx 3.14", "3.14"), ("x ≈ -2.5", "-2.5"), ("3 - 8 = -5", -5),
    # Ordinals
    ("1st", 1), ("2nd", 2), ("3rd", 3), ("72nd", 72), ("11th", 11), ("21st", 21), ("100th", 100), ("the 3rd", 3),
    ("3rd place", 3),
    # Scale words
    ("3 million", 3000000), ("1.5 million", 1500000), ("2 thousand", 2000), ("2 billion", 2000000000), ("5k", 5000),
    ("$5k", 5000), ("$3 million", 3000000), ("1.5 million dollars", 1500000), ("3 million people", 3000000),
    ("-2 million", -2000000),
    # Brackets and quotes
    ("(72)", 72), ("[72]", 72), ("( 72 )", 72), ("[ 72 ]", 72), ("((72))", 72), ("(-5)", -5), ("(1/2)", "1/2"),
    ('"72"', 72), ("'72'", 72), ("“72”", 72), ("‘72’", 72), ('"-5"', -5), ('"72 apples"', 72),
    # Whitespace and newlines around
    (" 72 ", 72), ("\t72", 72), ("\n72\n", 72), ("72\r\n", 72), ("\u00a072\u00a0", 72), ("\n\n  -5  \n", -5),
    ("Answer:\n72", 72), ("\n**72**\n", 72), ("\n\\boxed{72}\n", 72), ("  $1,000.00  ", 1000),
    # As models write it: units in LaTeX, scale words, HTML, fences
    ("72 lakh", 7200000), ("2 crore", 20000000), ("5bn", 5000000000), ("72 mln", 72000000),
    ("\\boxed{25 \\text{ cm}^2}", 25), ("25\\,\\text{cm}^2", 25), ("72 \\text{cm}^3", 72),
    ("72 \\mathrm{~cm}", 72), ("\\boxed{72~\\text{clips}}", 72), ("\\boxed{5\\times10^3}", 5000),
    ("5\\cdot10^3", 5000), ("5 \xb7 10^3", 5000), ("72\u200b", 72), ("\ufeff72", 72), ("72\u2026", 72),
    ("72\u3002", 72), ("<b>72</b>", 72), ("\\underline{72}", 72), ("\\fbox{72}", 72), ("\\boxed 72", 72),
    ("\\therefore 72", 72), ("\\sim 72", 72), ("72\\\\", 72), ("```\n72\n```", 72), ("6*4 = 24 = 24", 24),
    ("Total = 5 apples + 3 apples = 8 apples", 8),
]

NO_ANSWER: list[str] = [
    # Nothing, or nothing but marks
    "", " ", "\n", " \t\r\n ", "\u00a0", ".", ",", "-", "+", "$", "$$", "%", "**", "()", "[]", "{}", "\\", "/", "=",
    "…",
    # Words
    "none", "None", "null", "nan", "NaN", "inf", "infinity", "-inf", "Infinity", r"\infty", "∞", "True", "False", "N/A",
    "seventy-two", "apples", "I don't know", "The answer is unknown.", "七十二", "Answer:", r"\text{none}",
    # Two numbers or more
    "72 or 73", "72 and 73", "5 apples and 3 pears", "5, 6", "5; 6", "5 & 6", "72 73", "72\n73", "5\t6", "1, 2, 3",
    "(3, 4)", "[1, 2]", "3, 4, and 5", "72 (73)", "72 apples in 3 boxes", "7 out of 10", "3 for $5", "Step 1: 72",
    "$5 and $6", "**5** and **6**", r"\boxed{1} and \boxed{2}", r"\boxed{72 or 73}", "1/2 or 3/4", "1/2 1/3", "½ ½",
    "3 1/2 1/2", "The 2 numbers are 3 and 4.", "x = 3, y = 4", "x = 3 and y = 4", "x = 3 or x = 4", "x = 3 or 4",
    "x = 5; y = 6", "3 dollars and 50 cents", "5 feet 3 inches", "1 hour 30 minutes", "6'2\"", "5'10\"",
    # Ranges, ratios and tolerances
    "from 5 to 6", "5 to 6", "between 5 and 6", "5-6", "5 - 6", "5–6", "5 – 6", "5−6", "$5-$6", "5%-6%", "3:4", "1:2:3",
    "5 ± 1", "5±1", r"5 \pm 1", "5 +/- 1",
    # Dates, times, versions and addresses
    "7:30", "10:30 am", "10:30:15", "7:30 pm", "12/25/2024", "2024-01-02", "2024/01/02", "25.12.2024", "Dec 25, 2024",
    "2024-01-02T10:30:00", "1.2.3", "v1.2.3", "192.168.0.1", "1..2",
    # Separators with no one reading
    "1,00", "1,5", "12,34", "0,500", "1,000,00", "1,00,00", "1,234,56", "1,0000", "1000,000", "1,,000", "1.000.00",
    "1,000.000,5", "1 000,000.5 5", "1,2,3",
    # Algebra, roots, constants and complex numbers
    "2x", "x", "x + 5", "3x + 2", "2x + 1", "x - 5", "2 + x", "x/2", "x^2", "2x^2", "x²", "2(x+1)", "10^x", "$2x$",
    r"\boxed{x}", r"\boxed{2x}", "x = y", "x = y + 2", "x =", "π", "2π", r"\pi", r"2\pi", "π/2", r"\frac{\pi}{2}",
    r"\sqrt{2}", r"2\sqrt{3}", "√2", "2√3", "3+4i", "3 - 2i", "5i",
    # Expressions nobody evaluated
    "2 + 3", "2+3", "2*3", "6 × 4", r"6 \times 4", r"6 \cdot 4", "8 ÷ 2", r"8 \div 2", "10 - 3", "10 − 3", "(1+2)*3",
    "7//2", "7 % 3", "7 mod 3", "2(3)", "(2)(3)", "2 + 3 =", "1/2 + 1/3", r"\frac{1}{2} + \frac{1}{3}",
    r"\frac{1+2}{3}", "2^10", "2^{10}", "2**10", "5²", "2³", "10^3 + 1", "9**9**9", "9^9^9", "10^10^10", "10^0.5",
    r"\boxed{2 + 3}", "$2 + 3$", r"\binom{5}{2}",
    # Bad signs
    "--5", "+-5", "-+5", "++5", "±5", r"\pm 5", "∓5", "5-", "- - 5", "−−5", "$--5", "x = ±5",
    # Broken fractions
    "1/0", "-1/0", "0/0", "3 1/0", "1/2/3", "1/2/3/4", "/2", "1/", "1//2", r"\frac{1}{0}", r"\frac{0}{0}",
    r"\frac{1}{}", r"\frac{}{2}", r"\frac{}{}", r"\frac{1}", r"\frac", r"\frac{a}{b}", r"\frac{x}{2}",
    r"\boxed{\frac{1}{0}}",
    # Inequalities
    "x > 5", "x < 5", "< 5", "> 5", "≥ 5", "≤ 5", "x ≥ 5", "x ≠ 5", "≠ 5", ">= 5", "<= 5", "!= 5", "5 < x", "1 < x < 3",
    r"x \geq 5", r"x \leq 5", r"\ge 5", r"\le 5", r"\neq 5", r"x \ne 5",
    # Exponents too large to hold
    "1e999999999", "-1e999999999", "1e+999999999", "1e-999999999", "1e99999999999999999999", "10^999999999",
    "10^{999999999}", "10^-999999999", "2 × 10^999999999", r"1 \times 10^{-999999999}", "1e1e1", "9**999999999",
    # Negation
    "not 72", "Not 72", "NOT 72", "It is not 72", "The answer is not 72.",
    # Code
    "0x10", "0xFF", "0b1", "0b101", "0o7", "1_000_000_", "1__000", "__import__('os')", "__import__('os').system('id')",
    "7;import os",
    # Hostile: control characters, lone surrogates, open brackets, endless repeats
    "7\x00", "\x007", "7\x007", "7\ud800", "\udfff", "<answer>", "</answer>", r"\boxed{", r"\boxed{}",
    r"\boxed{\boxed{}}", r"\text{}", "a" * 300, "1" * 5000, "-" * 5000, "$" * 5000, " " * 10000, "(" * 10000,
    "[" * 10000, "{" * 10000, r"\boxed{" * 3000, r"\frac{" * 3000, "1/" * 3000, "1," * 3000, "9^" * 3000, "½" * 1000,
    "**" * 3000,
    # Contradictions, denials, functions, words that change the value
    "72 = 73", "1 = 2 = 3 = 73", "72 \u2192 73", "72 -> 73", "(72) = 73", "72,x=73", "x=72,y=73", "72 maybe x=73",
    "A=5,B=6", "a = 5 b = 6", "72 squared", "72 factorial", "72 times two", "72 divided by two", "72 base five",
    "72 and seventy-three", "twice 72", "square root of 72", "sin 72", "cos(72)", "log(72)", "at least 72",
    "less than 72", "anything except 72", "never 72", "cannot be 72", "wrong: 72", "72 is wrong", "5 B", "72 M",
    "3\u4e07", "3 halves", "5 hundredths", "thirty 5", "72\u2461", "0.333...", "x != 72", "\\neq 72", "x \\ge 72",
    "\\log 72", "\\sqrt[3]{72}", "1.5M",
]
# fmt: on


def short(value: object) -> str:
    return ascii(value)[:40]


@pytest.mark.parametrize(("text", "value"), STATED, ids=short)
def test_a_text_that_states_one_number_gives_exactly_that(text, value):
    assert (type(found := parse_number(text)), found) == (Fraction, Fraction(value))


@pytest.mark.parametrize("text", NO_ANSWER, ids=short)
def test_a_text_that_states_no_number_or_several_gives_none(text):
    assert parse_number(text) is None


def test_the_tables_repeat_nothing_and_are_long_enough():
    texts = [text for text, _ in STATED] + NO_ANSWER
    assert len(set(texts)) == len(texts) >= 270
