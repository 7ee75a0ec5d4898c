//! How long a call may take.

use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::config::ServerConfig;

/// The deadlines of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// A single answer is due by then: the caller's deadline or the default, at most the configured maximum from the start.
    pub(super) answer: Instant,
    /// The whole call, if its caller said so: the end of a stream.
    pub(super) call: Option<Instant>,
}

impl Deadlines {
    /// Reads the `grpc-timeout` header. One that can't be read counts as not given, as in other servers.
    pub(super) fn from_now(headers: &HeaderMap, config: &ServerConfig) -> Self {
        let now = Instant::now();
        let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse_timeout);
        let default = Duration::from_millis(config.default_deadline_ms);
        let most = Duration::from_millis(config.max_deadline_ms);
        Self { answer: now + asked.unwrap_or(default).min(most), call: asked.and_then(|asked| now.checked_add(asked)) }
    }

    /// When the answer to one request of a stream is due that was read now.
    pub(super) fn of_streamed_request(&self, config: &ServerConfig) -> Instant {
        let own = Instant::now() + Duration::from_millis(config.default_deadline_ms);
        self.call.map_or(own, |call| call.min(own))
    }
}

/// A timeout in the form of the gRPC protocol: 1 to 8 digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3_600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("2H", Some(Duration::from_secs(7_200))),
            ("3M", Some(Duration::from_secs(180))),
            ("42S", Some(Duration::from_secs(42))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("999999999m", None),
            ("-1S", None),
            ("S", None),
            ("5", None),
            ("", None),
            ("5с", None),
        ] {
            assert_eq!(parse_timeout(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_answer_is_due_by_the_callers_deadline_the_default_or_the_maximum() {
        let config = ServerConfig { default_deadline_ms: 1_000, max_deadline_ms: 2_000, ..ServerConfig::default() };
        for (header, answer_ms, call_ms) in [
            (None, 1_000, None),
            (Some("500m"), 500, Some(500)),
            (Some("9S"), 2_000, Some(9_000)),
            (Some("soon"), 1_000, None),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert("grpc-timeout", header.parse().unwrap());
            }
            let before = Instant::now();
            let deadlines = Deadlines::from_now(&headers, &config);
            let from_start = |due: Instant| (due - before).as_millis() as u64;
            assert!((answer_ms..answer_ms + 100).contains(&from_start(deadlines.answer)), "{header:?}");
            assert_eq!(deadlines.call.map(|due| from_start(due) / 100 * 100), call_ms, "{header:?}");
        }
    }
}
