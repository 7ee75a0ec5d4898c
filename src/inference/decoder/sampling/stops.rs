//! Texts at which an answer ends.
//!
//! Enters: the pieces of an answer. Leaves: what of it may be shown already, and whether it ended. Never here: tokens.

/// Looks for texts that end an answer, in pieces of it. What may become such a text is held back until it is known.
#[derive(Debug, Clone)]
pub struct StopWatch {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopWatch {
    /// A watch for these texts; empty ones are no texts.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes a piece and gives what is surely part of the answer. After a stop, nothing is.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(start) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let begun = self.held.char_indices().map(|(start, _)| start).find(|start| self.may_begin(*start));
        let behind = self.held.split_off(begun.unwrap_or(self.held.len()));
        std::mem::replace(&mut self.held, behind)
    }

    /// Whether a stop was found.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What is held back when the answer ends by itself: it is part of it.
    pub fn finish(self) -> String {
        self.held
    }

    /// Whether what follows this place may be the beginning of a stop.
    fn may_begin(&self, start: usize) -> bool {
        let tail = self.held.get(start..).unwrap_or_default();
        self.stops.iter().any(|stop| stop.starts_with(tail))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn watch(stops: &[&str]) -> StopWatch {
        StopWatch::new(&stops.iter().map(|stop| (*stop).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_may_become_a_stop_is_held_back() {
        let mut watch = watch(&["\nКлиент:", "###", ""]);
        assert_eq!(watch.push("Добрый день"), "Добрый день");
        assert_eq!(watch.push("!\nКли"), "!");
        assert_eq!(watch.push("матик"), "\nКлиматик");
        assert_eq!(watch.push("##"), "");
        assert_eq!(watch.clone().finish(), "##");
        assert_eq!(watch.push("а\nКлиент: нет"), "##а");
        assert!(watch.stopped());
        assert_eq!((watch.push("ещё"), watch.finish()), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn the_answer_ends_before_the_first_stop(
            stops in prop::collection::vec("[aя]{1,4}", 0..3),
            pieces in prop::collection::vec("[aяb]{0,3}", 0..12),
        ) {
            let mut watch = StopWatch::new(&stops);
            let mut said = String::new();
            for piece in &pieces {
                said += &watch.push(piece);
            }
            let stopped = watch.stopped();
            said += &watch.finish();
            let whole = pieces.concat();
            // A stop that begins earlier may be complete later than another that overlaps it, so more may have been said.
            match stops.iter().filter_map(|stop| whole.find(stop.as_str())).min() {
                None => prop_assert_eq!((said, stopped), (whole, false)),
                Some(first) => {
                    prop_assert!(stopped);
                    prop_assert!(whole.starts_with(&said) && said.len() >= first);
                    prop_assert!(stops.iter().all(|stop| !said.contains(stop.as_str())));
                }
            }
        }
    }
}
