"""report: the page, the plots, and the tables behind the plots."""

from descry.report.build import build_report
from descry.report.gather import gather_content
from descry.results import layout
from descry.settings.measuring import Report
from descry.settings.neurons import Assign
from descry.storage.files import replacing
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import to_rule


def main() -> None:
    content = gather_content(to_rule(read_settings(Assign)))
    for name, file in build_report(content, exemplars=read_settings(Report).exemplars).items():
        with replacing(layout.REPORT / name) as partial:
            partial.write_bytes(file)


if __name__ == "__main__":
    run_stage(main)
