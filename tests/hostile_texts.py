"""Sixty texts that try to act where they are shown: in a terminal, a page, a spreadsheet, a JSON document."""

MARKUP = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "</svg><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<style>*{display:none}</style>",
    "</td></tr></table><h1>坏</h1>",
    "<iframe src=javascript:alert(1)>",
    "<a href='javascript:alert(1)'>点我</a>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)",
    "<!-- ", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<!DOCTYPE x>",
    "&lt;script&gt;", "&#60;b&#62;", "&notanentity;",
    "{{ 7 * 7 }}", "{% raw %}", "{{ config }}", "${7*7}", "#{7*7}",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<link rel=stylesheet href=//evil.example>",
    "javascript:alert(1)",
]  # fmt: skip
FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1", "-1+1", "@SUM(A1)", "\t=1+1", "\r=1+1", "\n=1+1", "|calc", "%0A=1+1",
    "＝1+1", "＋1", "－1", "＠SUM(A1)", " =1+1", '"=1+1', '=HYPERLINK("http://evil.example","单击")',
]  # fmt: skip
CONTROLS = [
    "\x1b[31m红\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b2J",
    "\x00零",
    "a\rb",
    "两\n行",
    "\u202egnp.exe",
    "\u2066隔\u2069",
    "zero\u200bwidth",
    "\u2028line",
    "[red]坏[/red]",
]
PAYLOADS = [*MARKUP, *FORMULAS, *CONTROLS]
