//! The library one embeds: shard loops, committer, leases, dispatch.
