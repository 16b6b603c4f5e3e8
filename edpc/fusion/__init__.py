"""The fusion engine: a target's rules, matched on a graph, partition its operators into groups.

`engine.fuse` is the way in; `matcher` grows one group by one rule; `region` is a group while it grows; `net` is the graph as
positions.
The engine reads the graph and answers groups: it changes no operator, knows no target by name and prices nothing.
"""
