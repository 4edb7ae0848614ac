# SPDX-License-Identifier: Apache-2.0
"""The study over many people: see bench/README.md. Modules from the bottom up: errors, statistics, people, camera, program,
profiles, networks, features, probes, policies, work, results, cluster, scenarios, cells, bars, report, plots."""


class StudyError(Exception):
    """Something that the person who started the study can mend; the message says what and where."""
