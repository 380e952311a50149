"""How fast, how large and how good: several variants of one model measured side by side, and a report about them.

`profile.profile` measures, `folder.write_report` writes; every figure names the backend that it was measured on.
"""
