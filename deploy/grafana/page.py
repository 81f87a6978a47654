"""A dashboard around its panels: variables, annotations, links between dashboards."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as model

import panel
import query

RUNBOOKS = "docs/runbooks"  # set the variable to where your copy of the documentation is served
DASHBOARDS = (("birkhoff-stability", "Stability"), ("birkhoff-performance", "Performance"), ("birkhoff-fleet", "Fleet"))


def _query_variable(name, label, expression):
    return (dashboard.QueryVariable(name).label(label).datasource(panel.SOURCE)
            .query({"query": expression, "refId": f"variable-{name}"})
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True).include_all(True).all_value(".+")
            .current(model.VariableOption(selected=True, text="All", value="$__all")))


def _annotation(name, colour, expression):
    return (dashboard.AnnotationQuery().name(name).datasource(panel.SOURCE).enable(True).hide(False).icon_color(colour)
            .expr(expression))


def _variables(page, attempts):
    page.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    page.with_variable(_query_variable("job", "Scrape job", "label_values(birkhoff_build_info, job)"))
    page.with_variable(_query_variable("instance", "Instance",
                                       'label_values(birkhoff_build_info{job=~"$job"}, instance)'))
    page.with_variable(_query_variable("job_id", "Job", f"label_values(birkhoff_job_info{{{query.FLEET}}}, job_id)"))
    if attempts:
        page.with_variable(_query_variable("attempt", "Attempt",
                                           f"label_values(birkhoff_job_info{{{query.JOB}}}, attempt)"))
    page.with_variable(dashboard.TextBoxVariable("runbooks").label("Runbooks").default_value(RUNBOOKS))


def _annotations(page):
    def happened(name, more=""):
        return f"sum by (job_id) ({query.increase(query.of_job(name, more))}) > 0"

    events = "birkhoff_stability_events_total"
    page.annotations([
        _annotation("Skipped steps", "red", happened(events, 'kind="skipped_step"')),
        _annotation("Spikes", "orange", happened(events, 'kind=~"loss_spike|gradient_spike"')),
        _annotation("Restarts", "purple", happened("birkhoff_restarts_total")),
        _annotation("Checkpoints", "blue", happened("birkhoff_checkpoints_total")),
    ])


def page(uid, title, description, rows, attempts=True):
    """`rows`: (title, panels) from top to bottom."""
    result = (dashboard.Dashboard(f"Birkhoff / {title}").uid(uid).description(description)
              .tags(["birkhoff"]).readonly().timezone("browser").refresh("30s").time("now-1h", "now")
              .tooltip(model.DashboardCursorSync.CROSSHAIR))
    _variables(result, attempts)
    _annotations(result)
    for other, name in DASHBOARDS:
        if other != uid:
            result.link(dashboard.DashboardLink(name).type(model.DashboardLinkType.LINK).url(f"/d/{other}")
                        .keep_time(True).include_vars(True))
    number = 1
    for row_title, panels in rows:
        result.with_row(dashboard.Row(row_title).id(number))
        for offset, one in enumerate(panels, start=1):
            result.with_panel(one.id(number + offset))
        number += 1 + len(panels)
    return result.build()
