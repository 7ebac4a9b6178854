"""Policy: what levels, limits, allowances and baselines make of what was seen.

``heed`` hears of each counted event and ``gate`` of each call before it runs; both only note what is to be said. It is
said by ``settle`` once our own work is done, so that no exception of ours ever passes through it.
"""
