from buildsys.bake.hcl import Attribute, Block, Expression, Template, write


def test_interpolation_marks_of_a_plain_string_are_escaped() -> None:
    assert write([Attribute(name="a", value="${PATH} %{x}")]) == 'a = "$${PATH} %%{x}"\n'


def test_a_template_keeps_its_expression() -> None:
    value = Template(parts=(Expression(text="BUILDSYS_REGISTRY"), "/one:latest"))
    assert write([Attribute(name="tag", value=value)]) == 'tag = "${BUILDSYS_REGISTRY}/one:latest"\n'


def test_equals_signs_of_neighbours_are_aligned_in_a_block() -> None:
    block = Block(
        kind="target",
        labels=("one",),
        body=(Attribute(name="context", value="."), Attribute(name="args", value={"A": "1"})),
    )
    assert write([block]).startswith('target "one" {\n  context = "."\n  args')
