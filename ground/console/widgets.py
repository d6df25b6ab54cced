"""The few parts that every page is put together from: plain HTML elements with the console's classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from nicegui import ui
from nicegui.element import Element

__all__ = ["button", "element", "facts", "field", "panel", "search", "tabs", "text"]

_BACK: Final = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
_VALUE = "(event) => emit(event.target.value)"


def element(tag: str, classes: str = "", content: str = "", **attributes: str) -> Element:
    """An HTML element with text in it."""
    made = Element(tag)
    made._text = content or None  # noqa: SLF001 - NiceGUI's own way for plain elements
    made.classes(classes)
    made._props.update({name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})  # noqa: SLF001
    return made


def text(tag: str, content: str, classes: str = "") -> Element:
    """A piece of text."""
    return element(tag, classes, content)


def button(label: str, on_click: Callable[[], Any], kind: str = "", why_not: str = "", **attributes: str) -> Element:
    """A button; ``why_not`` disables it and says why."""
    made = element("button", f"sr-button {kind}", label, type="button", **attributes)
    if why_not:
        made.props["disabled"] = True
        made.props["title"] = why_not
    else:
        made.on("click", lambda _: on_click())
    return made


@contextmanager
def panel(title: str, more: tuple[str, str] | None = None, body: str = "") -> Iterator[Element]:
    """A panel with a head; yields where its content goes. ``more`` is a text and a link in the head."""
    with element("section", "sr-panel", aria_label=title):
        with element("div", "head") as head:
            text("h2", title)
            element("span", "grow")
            if more is not None:
                element("a", "more", more[0], href=more[1])
        with element("div", body):
            yield head


def search(hint: str, on_change: Callable[[str], Any]) -> Element:
    """A field to search with."""
    made = element("input", "sr-input sr-search", type="search", placeholder=hint, aria_label=hint)
    made.on("input", lambda event: on_change(str(event.args)), js_handler=_VALUE, throttle=0.3, leading_events=False)
    return made


def tabs(
    choices: Mapping[str, str], chosen: str, on_change: Callable[[str], Any]
) -> Callable[[Mapping[str, str]], None]:
    """Buttons of which one is pressed; returns what writes other words on them."""
    buttons: dict[str, Element] = {}

    def press(name: str) -> None:
        for key, made in buttons.items():
            made.props["aria-pressed"] = "true" if key == name else "false"
            made.update()
        on_change(name)

    with element("div", "sr-tabs", role="group"):
        for name, label in choices.items():
            made = element("button", "", label, type="button", aria_pressed="true" if name == chosen else "false")
            made.on("click", lambda _, name=name: press(name))
            buttons[name] = made

    def write(labels: Mapping[str, str]) -> None:
        for name, label in labels.items():
            if buttons[name]._text != label:  # noqa: SLF001
                buttons[name]._text = label  # noqa: SLF001
                buttons[name].update()

    return write


def field(
    name: str,
    on_change: Callable[[str], Any],
    *,
    label: str,
    unit: str = "",
    hint: str = "",
    value: str = "",
    choices: Iterable[tuple[str, str]] | None = None,
    is_required: bool = False,
    **attributes: str,
) -> Element:
    """A labelled input, or a choice; the unit stands in the label, what is allowed below."""
    with element("label", "sr-field"):
        with element("span", "label", label):
            if unit or not is_required:
                text("em", f" {unit}" if unit else " optional")
        if choices is not None:
            made = element("select", "sr-input", name=name, **attributes)
            with made:
                for key, word in choices:
                    option = element("option", "", word, value=key)
                    if key == value:
                        option.props["selected"] = True
            made.on("change", lambda event: on_change(str(event.args)), js_handler=_VALUE)
        else:
            made = element("input", "sr-input", name=name, autocomplete="off", **attributes)
            if value:
                made.props["^value"] = value  # the attribute: what was typed since outlives every new drawing
            made.on("input", lambda event: on_change(str(event.args)), js_handler=_VALUE)
        if is_required:
            made.props["required"] = True
        if hint:
            text("span", hint, "hint")
    return made


class facts:  # noqa: N801 - used as a widget
    """A strip of figures with names; the same names each time."""

    def __init__(self, values: Mapping[str, str | tuple[str, str]]) -> None:
        self._cells: dict[str, Element] = {}
        self._seen: dict[str, str | tuple[str, str]] = {}
        with element("div", "sr-facts"):
            for name in values:
                with element("div"):
                    text("span", name)
                    self._cells[name] = text("b", "")
        self.show(values)

    def show(self, values: Mapping[str, str | tuple[str, str]]) -> None:
        """These are the figures now; a pair is a text and its colour."""
        for name, value in values.items():
            if name not in self._cells or self._seen.get(name) == value:
                continue
            self._seen[name] = value
            content, level = value if isinstance(value, tuple) else (value, "")
            cell = self._cells[name]
            cell._text = content  # noqa: SLF001
            cell.classes(replace=level)
            cell.update()


def heading(title: str, back: tuple[str, str] | None = None) -> Element:
    """The head of a page; more goes into what is returned."""
    with element("div", "sr-head") as head:
        if back is not None:
            element("a", "back", f"{_BACK} {back[0]}", href=back[1])
        text("h1", title)
    return head


def raw(html: str, classes: str = "") -> Element:
    """HTML that the console wrote itself."""
    return ui.html(html, sanitize=False).classes(classes)
