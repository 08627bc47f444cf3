"""Look a machine over before a long run: a file for each group of checks, a finding for each thing.

A check is a generator of findings. It imports what it looks at inside its function, or in a process of its
own: what is broken must become a finding, not the end of the doctor.
"""

from pipelines.doctor.examining import examine
from pipelines.doctor.findings import Finding

__all__ = ["Finding", "examine"]
