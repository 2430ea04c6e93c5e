"""Airflow's form for connections, and the list with its Test button, worked like a person's hand would."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Locator, Page

BOTH_TEXTS = (
    "shown => ['title', 'description'].map(part => shown.querySelector(`[data-part=${part}]`).innerText.trim())"
)


class Field(NamedTuple):
    """A field of the form.

    :param name: the input's, as Airflow stores it.
    :param masked: whether what one types is shown as dots.
    """

    name: str
    label: str
    hint: str
    placeholder: str
    masked: bool


class ConnectionForm:
    """The open form, for a new connection or one from the list.

    :param page: on which it is.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._dialog = page.get_by_role("dialog")
        self._dialog.wait_for()

    def choose_type(self, name: str) -> None:
        """Pick the connection type by the name that the list shows."""
        self._dialog.get_by_role("combobox").fill(name)
        self._page.get_by_role("option", name=name, exact=True).click()
        self._page.keyboard.press("Tab")

    def open_section(self, name: str) -> Locator:
        """Unfold a section, and give it."""
        heading = self._page.get_by_role("button", name=name, exact=True)
        if heading.get_attribute("aria-expanded") != "true":
            heading.click()
        section = self._dialog.locator("[data-part=item]").filter(has=heading).locator("[data-part=item-content]")
        section.wait_for()
        return section

    def fields(self, section: str) -> list[Field]:
        """What a section offers, from top to bottom."""
        return [_field(each) for each in self.open_section(section).locator("[data-scope=field][data-part=root]").all()]

    def fill(self, section: str, values: Mapping[str, str]) -> None:
        """Type into the fields of a section.

        :param values: by the field's label.
        """
        opened = self.open_section(section)
        for label, value in values.items():
            written = self._page.locator("label").filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$"))
            field = opened.locator("[data-scope=field][data-part=root]").filter(has=written).locator("[name]")
            field.fill(value)
            field.blur()

    def save(self) -> None:
        """Press Save, and wait until Airflow has stored it."""
        self._dialog.get_by_role("button", name="Save").click()
        self._dialog.wait_for(state="hidden")


def add_connection(page: Page, connection_id: str, connection_type: str) -> ConnectionForm:
    """Go through Admin > Connections > Add Connection, and pick the type."""
    page.goto("/")
    page.get_by_role("button", name="Admin").click()
    page.get_by_role("menuitem", name="Connections").click()
    page.get_by_role("button", name="Add Connection").click()
    form = ConnectionForm(page)
    page.get_by_label("Connection ID").fill(connection_id)
    form.choose_type(connection_type)
    return form


def edit_connection(page: Page, connection_id: str) -> ConnectionForm:
    """Open the form of a connection that is there."""
    page.goto("/connections")
    _row(page, connection_id).get_by_role("button", name="Edit Connection").click()
    return ConnectionForm(page)


def press_test(page: Page, connection_id: str) -> tuple[str, str]:
    """Press a connection's Test button, and give the title and the sentence that come up."""
    page.goto("/connections")
    _row(page, connection_id).get_by_role("button", name="Test Connection").click()
    shown = page.get_by_role("status").filter(has_text="Test Connection")
    title, sentence = shown.evaluate(BOTH_TEXTS)  # at once, for it soon goes away
    return title, sentence


def _row(page: Page, connection_id: str) -> Locator:
    cell = page.get_by_role("cell", name=connection_id, exact=True)
    return page.get_by_role("row").filter(has=cell)


def _field(element: Locator) -> Field:
    entry, hint = element.locator("[name]"), element.locator("[data-part=helper-text]")
    return Field(
        name=(entry.get_attribute("name") or "").removeprefix("element_"),
        label=element.locator("label").inner_text().strip(),
        hint=hint.inner_text().strip() if hint.count() else "",
        placeholder=entry.get_attribute("placeholder") or "",
        masked=entry.get_attribute("type") == "password",
    )
