"""The page in a browser, beside an API that tells what a test chooses: figures, states, attacks, phones, keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.chromium import browser, page_at  # noqa: F401 - browser is a fixture
from tests.page.stub import airflow_with, row
from tests.until import until

pytestmark = pytest.mark.long
NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
ATTACK = "<img src=x onerror=\"document.title='broken into'\"><script>document.title='broken into'</script>"
LONG = "a_very_long_name_without_any_break_" * 6


@pytest.fixture
def look(browser):  # noqa: F811
    """Give a function that opens the page at noon of a day; at the end nothing may have gone wrong in it."""
    contexts, problems = [], []

    def open_page(airflow, *, scheme="light", width=1280, height=900, theme=None, seen=".panel"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": height})
        contexts.append(context)
        page = page_at(context, NOON)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if "Security Policy" in line.text else None)
        if theme:
            page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page.goto(airflow.url)
        page.locator(seen).first.wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def let_page_act(page):
    """Wait until all has been asked that the page has begun to ask: this comes after it."""
    page.evaluate("fetch('page.css').then(reply => reply.text())")


def at(hours_ago):
    return (NOON - timedelta(hours=hours_ago)).isoformat(timespec="milliseconds")


def record(hours_ago=0.0, **facts):
    """What a task leaves."""
    return {"conn_id": "crm", "kind": "export", "outcome": "success", "tokens": 100, "at": at(hours_ago), **facts}


def budget(look, *values, now=None):
    """What the page makes of records, newest first."""
    with airflow_with() as airflow:
        page = look(airflow)
        return page.evaluate(
            """async ([values, now]) => {
              const { budgetOf, readRecord } = await import("./facts.js");
              return budgetOf(values.map(value => readRecord({}, value)), now);
            }""",
            [list(values), (now or NOON).timestamp() * 1000],
        )


def test_the_budget_that_pipedrive_told(look):
    found = budget(look, record(1, daily_tokens=30_000, daily_tokens_left=29_000), record(2, tokens=300), record(13))
    assert (found["size"], found["left"], found["used"]) == (30_000, 29_000, 1_000)
    assert (found["recorded"], found["others"]) == (400, 600)
    assert (found["expected"], found["basis"]) == (2_000, "pace")


def test_what_was_told_yesterday_says_the_size_and_not_what_is_left(look):
    found = budget(look, record(1), record(13, daily_tokens=30_000, daily_tokens_left=10))
    assert (found["size"], found["left"], found["used"], found["others"]) == (30_000, None, 100, 0)


def test_the_rest_of_the_day_is_expected_to_go_as_yesterdays(look):
    found = budget(look, record(1), record(13, tokens=70), record(23, tokens=8), record(30, tokens=5_000))
    assert (found["used"], found["expected"], found["basis"]) == (100, 178, "yesterday")


def test_a_young_day_has_no_forecast(look):
    midnight = datetime(2026, 3, 5, 0, 20, tzinfo=UTC)
    found = budget(look, record(11.9), now=midnight)
    assert (found["used"], found["expected"]) == (100, None)


def test_durations_and_remedies(look):
    with airflow_with() as airflow:
        said = look(airflow).evaluate(
            """async () => {
              const { duration, remedyFor } = await import("./facts.js");
              const nothing = { error: null, about: null, status: null, connection: "crm" };
              const remedy = facts => remedyFor({ ...nothing, ...facts });
              return [
                [0, 59e3, 60e3, 119 * 60e3, 120 * 60e3, 47 * 3600e3, 48 * 3600e3].map(duration),
                remedy({ error: "PipedriveAuthError", status: 401 }),
                remedy({ error: "PipedriveAuthError", status: 403 }),
                remedy({ error: "PipedriveConfigError", about: "'API token' (Password)" }),
                remedy({ error: "PipedriveValidationError", about: "lead_id" }),
                remedy({ error: "constructor" }), remedy({ error: "ValueError" }), remedy({}),
              ];
            }"""
        )
    under = "less than a minute"
    assert said[0] == [under, under, "1 min", "119 min", "2 h", "47 h", "2 days"]
    assert "API token or the OAuth login of connection crm" in said[1]
    assert "lacks the right" in said[2]
    assert said[3] == "Mend the field 'API token' (Password) of connection crm, under Admin, Connections."
    assert said[4].startswith("Mend lead_id of the task")
    assert set(said[5:]) == {"The task's log says more."}


def test_it_reads_no_more_than_a_hundred_records_four_at_a_time_and_each_once(look):
    rows = [row(record(number / 10), run_id=f"run-{number}") for number in range(250)]
    with airflow_with(*rows) as airflow:
        airflow.released.clear()
        page = look(airflow, seen="body")
        until(lambda: airflow.under_way >= 4)
        let_page_act(page)
        assert len(airflow.asked) == 1 + 4
        airflow.released.set()
        page.locator(".panel").first.wait_for()
        assert len(airflow.asked) == 1 + 100
        assert airflow.most_at_once == 4
        assert "newest 100 of 250 records" in page.locator("#notes").inner_text()
        airflow.records.insert(0, row(record(), run_id="new"))
        page.get_by_role("button", name="Refresh").click()
        page.locator("#notes", has_text="251").wait_for()
        assert len(airflow.asked) == 101 + 2
        page.clock.fast_forward("00:59")
        let_page_act(page)
        assert len(airflow.asked) == 103
        page.clock.fast_forward("01:02")
        until(lambda: len(airflow.asked) == 104)


def test_an_empty_page_says_what_to_do(look):
    with airflow_with() as airflow:
        words = look(airflow).locator("main").inner_text()
    assert "Nothing recorded yet" in words
    assert "PipedriveExportLeadsOperator" in words


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "permission to read XComs"), (401, "log in again"), (500, "answered 500"), (503, "answered 503")],
)
def test_it_says_why_it_shows_nothing(look, status, words):
    with airflow_with(row(record())) as airflow:
        airflow.status = status
        page = look(airflow, seen="#problem:not(:empty)")
        assert words in page.locator("#problem").inner_text()
        assert page.locator("main").inner_text() == ""
        airflow.status = 200
        page.get_by_role("button", name="Refresh").click()
        page.get_by_role("heading", name="crm").wait_for()
        assert page.locator("#problem").inner_text() == ""


def test_it_keeps_what_it_showed_when_airflow_fails_but_not_when_the_right_is_gone(look):
    with airflow_with(row(record())) as airflow:
        page = look(airflow)
        for status, kept in ((500, 1), (403, 0)):
            airflow.status = status
            page.get_by_role("button", name="Refresh").click()
            page.locator("#problem", has_text=str(status) if kept else "permission").wait_for()
            assert page.locator(".connection").count() == kept


def test_a_record_that_this_viewer_may_not_read_is_left_out(look):
    with airflow_with(row(record()), row(record(1), dag_id="secret", status=403)) as airflow:
        page = look(airflow)
        assert "1 of them cannot be read" in page.locator("#notes").inner_text()
        assert "secret" not in page.content()


def test_records_with_markup_stay_text(look):
    hostile = dict.fromkeys(("conn_id", "kind", "host", "error", "about", "call"), ATTACK)
    failed = {**record(1), **hostile, "outcome": "failed"}
    export = {**record(2), "conn_id": ATTACK, "host": ATTACK, "outcome": ATTACK}
    names = {"dag_id": ATTACK.replace("/", "~"), "task_id": ATTACK.replace("/", "~"), "run_id": "run&?#"}
    with airflow_with(row(failed, **names), row(export, **names, map_index=3)) as airflow:
        page = look(airflow)
        assert page.title() == "Pipedrive leads"
        assert page.get_by_role("heading", name=ATTACK).count() == 1
        assert page.locator("img, body script, iframe, [onerror]").count() == 0
        links = page.locator("main a").evaluate_all("links => links.map(link => new URL(link.href).pathname)")
        assert links
        assert all(
            re.fullmatch(r"/a/sub-path/dags/%3Cimg[^<>/]*/runs/run%26%3F%23/tasks/[^<>/]*(/mapped/3)?", link)
            for link in links
        )


@pytest.mark.parametrize(
    "value",
    [None, [], 7, "not JSON", "s3://bucket/key", {}, {"conn_id": 7}, {"conn_id": ""}, {"conn_id": "crm", "at": "soon"}],
)
def test_what_is_no_record_is_left_out(look, value):
    with airflow_with(row(record()), {**row(record(1), run_id="odd"), "value": value, "timestamp": "never"}) as airflow:
        page = look(airflow)
        assert "1 of them cannot be read" in page.locator("#notes").inner_text()
        assert page.locator(".connection").count() == 1


def test_odd_numbers_do_no_harm(look):
    odd = dict.fromkeys(("rows", "tokens", "seconds", "daily_tokens", "daily_tokens_left", "status", "as_of"), "NaN")
    with airflow_with(
        row({**record(), **odd}), row({**record(1), "tokens": -5, "rows": -1, "daily_tokens": 0})
    ) as airflow:
        words = look(airflow).locator("main").inner_text()
    assert "NaN" not in words
    assert "Infinity" not in words


def full(name="crm"):
    """Records of all kinds, with a name as long as one likes."""
    rows = []
    for number in range(15):
        facts = {
            "conn_id": name,
            "rows": 50 + number,
            "seconds": 1.25,
            "as_of": at(number),
            "host": "acme.pipedrive.com",
        }
        told = {"daily_tokens": 30_000, "daily_tokens_left": 20_000}
        rows.append(row(record(number, **facts, **told), dag_id=name, task_id=f"export_{name}"))
    bad = {"outcome": "failed", "error": "PipedriveServerError", "status": 503, "call": f"GET /v1/leads/{LONG}"}
    rows.insert(1, row(record(0.5, conn_id=name, **bad), dag_id=name, task_id=f"export_{name}"))
    return rows


def test_charts_say_in_words_what_they_show(look):
    with airflow_with(*full()) as airflow:
        page = look(airflow)
        labels = page.get_by_role("img").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        assert labels[0] == "About 10,000 of 30,000 API tokens used today, about 20,000 expected by the day's end."
        rows = "60, 59, 58, 57, 56, 55, 54, 53, 52, 51, failed, 50"
        assert labels[1] == f"Rows of the last 12 runs, oldest first: {rows}"
        assert labels[3].endswith("1.3 s, failed, 1.3 s")
        assert [cell.inner_text() for cell in page.get_by_role("columnheader").all()] == [
            "Task", "Last run", "Rows", "Tokens", "Seconds", "Data as of",
        ]  # fmt: skip


@pytest.mark.parametrize("width", [360, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(look, width):
    with airflow_with(*full(LONG)) as airflow:
        page = look(airflow, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("th[scope=row]").count() == 1
        if width < 760:
            cell = page.get_by_role("cell").filter(has_text="1.3 s").bounding_box()
            assert cell["x"] + cell["width"] <= width


def test_the_keyboard_reaches_everything_and_gets_out_again(look):
    with airflow_with(*full()) as airflow:
        page = look(airflow)
        reached = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.innerText"))
            outline = page.evaluate(
                "(({ outlineStyle, outlineWidth }) => outlineStyle + outlineWidth)(FOCUSED)".replace(
                    "FOCUSED", "getComputedStyle(document.activeElement)"
                )
            )
            assert outline == "solid3px"
        assert reached == ["Refresh", "crm · export_crm", "Exports and loads of crm", "export_crm"]
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "BODY", "the keyboard leaves the page at its end"
        before = len(airflow.asked)
        page.get_by_role("button", name="Refresh").focus()
        page.keyboard.press("Enter")
        until(lambda: len(airflow.asked) > before)
        page.locator("#connections[aria-busy=false]").wait_for()
        assert page.evaluate("document.activeElement.id") == "refresh"


CONTRAST = """() => {
  const channels = color => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = color => {
    const linear = part => (part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    const [r, g, b] = channels(color).map(part => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
    return "white";
  };
  return [...document.querySelectorAll("h1,h2,h3,p,a,th,td,small,li,span,button,footer")]
    .filter(node => node.innerText?.trim())
    .map(node => {
      const [one, other] = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
      return (one + .05) / (other + .05);
    }).reduce((least, ratio) => Math.min(least, ratio));
}"""


@pytest.mark.parametrize(
    ("scheme", "theme", "dark"),
    [
        ("light", None, False),
        ("dark", None, True),
        ("light", "dark", True),
        ("dark", "light", False),
        ("dark", "system", True),
    ],
)
def test_it_follows_airflows_theme_and_stays_readable(look, scheme, theme, dark):
    with airflow_with(*full()) as airflow:
        page = look(airflow, scheme=scheme, theme=theme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(int(part) for part in re.findall(r"\d+", ground)) < 200) == dark
        assert page.evaluate(CONTRAST) >= 4.5
