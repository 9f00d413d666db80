"""The tree in etcd of the older gogeta and passivator (the Arken family, 2014-2016): read, and turned into tenants.

``keys`` (paths and values as nested folders), ``times`` and ``reading`` (what they say) and ``planning`` (what becomes
of it here) are pure; ``source`` gets the keys from etcd. Nothing here ever writes to that tree.
"""
