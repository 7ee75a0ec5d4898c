//! Server-sent events, as far as endpoints use them: the data of each.

/// Finds events in the bytes of a stream, wherever those are cut.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A line that has not ended.
    line: Vec<u8>,
    /// Data of an event that has not ended.
    data: Vec<u8>,
}

impl Events {
    /// The data of each event that ends in these bytes, in order. Comments and fields other than data are left out.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                whole.extend(self.end_line(line.trim_ascii_end()));
            }
        }
        whole
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            return (!self.data.is_empty()).then(|| std::mem::take(&mut self.data));
        }
        let data = line.strip_prefix(b"data:")?;
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ": ping\n\ndata: {\"a\": \"ё\"}\n\nevent: x\ndata:b\r\ndata: c\r\n\r\n\n\ndata: [DONE]\n\ndata: cut";

    #[test]
    fn data_is_found_and_the_rest_left_out() {
        let found = Events::default().push(STREAM.as_bytes());
        let found: Vec<_> = found.iter().map(|data| std::str::from_utf8(data).unwrap()).collect();
        assert_eq!(found, ["{\"a\": \"ё\"}", "b\nc", "[DONE]"]);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_bytes_are_cut(cuts in prop::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut events = Events::default();
            let pieces = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]);
            let found: Vec<_> = pieces.flat_map(|piece| events.push(piece)).collect();
            prop_assert_eq!(found, Events::default().push(STREAM.as_bytes()));
        }
    }
}
