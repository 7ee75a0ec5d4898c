//! The loop that both kinds of tokeniser share: of all neighbours that may be joined, the best are, until none may.
//!
//! Enters: the smallest parts of a text and a rule that ranks joints. Leaves: the parts that remain.
//! Never here: where ranks come from.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it begins, in bytes of the text.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its token, if it is one.
    pub token: Option<u32>,
}

/// What two neighbours become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Joint {
    /// The lowest is joined first; of equals, the leftmost.
    pub rank: u32,
    /// The token that they become.
    pub token: u32,
}

/// A part with its neighbours. One that was joined to its left neighbour is empty.
#[derive(Clone, Copy)]
struct Link {
    part: Part,
    before: usize,
    after: usize,
}

/// No neighbour.
const NONE: usize = usize::MAX;

/// Joins parts by `joint` until it knows of no more, in time that grows as n log n.
pub(super) fn merge(parts: Vec<Part>, joint: impl Fn(&Part, &Part) -> Option<Joint>) -> Vec<Part> {
    let last = parts.len().saturating_sub(1);
    let link = |(index, part): (usize, Part)| Link {
        part,
        before: if index == 0 { NONE } else { index - 1 },
        after: if index == last { NONE } else { index + 1 },
    };
    let mut links: Vec<Link> = parts.into_iter().enumerate().map(link).collect();
    let mut queue = BinaryHeap::new();
    let ask = |links: &[Link], left: usize, right: usize| {
        let (one, other) = (links.get(left)?, links.get(right)?);
        let joint = joint(&one.part, &other.part)?;
        Some(Reverse((joint.rank, left, right, one.part.start, other.part.end, joint.token)))
    };
    queue.extend((1..links.len()).filter_map(|right| ask(&links, right - 1, right)));
    while let Some(Reverse((_, left, right, start, end, token))) = queue.pop() {
        let (Some(one), Some(other)) = (links.get(left).copied(), links.get(right).copied()) else { continue };
        // Either may have grown, or become empty, since the joint was found.
        let stale = one.after != right || one.part.start != start || other.part.end != end;
        if stale || one.part.end == one.part.start || other.part.end == other.part.start {
            continue;
        }
        if let Some(one) = links.get_mut(left) {
            one.part = Part { start, end, token: Some(token) };
            one.after = other.after;
        }
        if let Some(other) = links.get_mut(right) {
            other.part.start = other.part.end;
        }
        if let Some(next) = links.get_mut(other.after) {
            next.before = left;
        }
        queue.extend(ask(&links, one.before, left));
        queue.extend(ask(&links, left, other.after));
    }
    links.into_iter().map(|link| link.part).filter(|part| part.end > part.start).collect()
}
