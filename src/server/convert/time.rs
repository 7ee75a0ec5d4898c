//! Points in time.

use jiff::Timestamp;

use super::Faults;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Reads a time; one that is out of the protocol's range is a fault.
pub(super) fn timestamp(given: Option<prost_types::Timestamp>, path: &str, faults: &mut Faults) -> Option<Timestamp> {
    let given = given?;
    let in_range = |nanos: &i32| (0..1_000_000_000).contains(nanos);
    let read = Some(given.nanos).filter(in_range).and_then(|nanos| Timestamp::new(given.seconds, nanos).ok());
    if read.is_none() || given.seconds < FIRST_SECOND {
        faults.add(path, "must be a time from year 1 to year 9999, its nanos from 0 to 999999999");
        return None;
    }
    read
}

/// 0001-01-01T00:00:00Z, the first second of the protocol's range.
const FIRST_SECOND: i64 = -62_135_596_800;

/// Writes a time; nanoseconds count forward even before 1970.
pub(super) fn to_wire(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_nanosecond();
    // Both fit: the range of `Timestamp` is years -9999 to 9999.
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_on_both_sides_of_1970() {
        for text in
            ["2026-02-03T04:05:06.789Z", "1969-12-31T23:59:59.25Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]
        {
            let time: Timestamp = text.parse().unwrap();
            let wire = to_wire(time);
            assert!(wire.nanos >= 0, "{text}");
            let mut faults = Faults::default();
            assert_eq!(timestamp(Some(wire), "t", &mut faults), Some(time), "{text}");
        }
    }

    #[test]
    fn times_out_of_range_are_faults() {
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0), (FIRST_SECOND - 1, 0)] {
            let mut faults = Faults::default();
            assert_eq!(timestamp(Some(prost_types::Timestamp { seconds, nanos }), "t", &mut faults), None);
            assert!(faults.or(()).unwrap_err().message().starts_with("t: must be a time"), "{seconds} {nanos}");
        }
    }
}
