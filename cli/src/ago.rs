//! Times as kubectl's users read and write them: `45s`, `2m`, `5h`, `3d`.

use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::Serializer;

/// `45s`, `2m`, `5h`, `3d`
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// How long before `now`. Clocks differ a little: what is to come is now.
pub(crate) fn since(then: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}

/// For a column: `-` if it is not known.
pub(crate) fn column(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(|| "-".to_owned(), |then| short(since(then, now)))
}

/// RFC 3339, in whole seconds; null if it is not known.
#[expect(
    clippy::ref_option,
    reason = "the form that serde wants for `serialize_with`"
)]
pub(crate) fn serialize<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&whole_seconds(*time).to_string()),
        None => serializer.serialize_none(),
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// `2m`, `1h30m`, `500ms` as kubectl and helm take them; a number alone is seconds.
pub(crate) fn parse(text: &str) -> anyhow::Result<Duration> {
    let how = || format!("{text:?}: write a time as 90s, 2m or 1h30m");
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    ensure!(!text.is_empty(), how());
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|one: char| !one.is_ascii_digit())
            .with_context(how)?;
        let (number, behind) = rest.split_at(digits);
        let number: u32 = number.parse().with_context(how)?;
        let end = behind
            .find(|one: char| one.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => anyhow::bail!(how()),
        };
        total = unit
            .checked_mul(number)
            .and_then(|part| total.checked_add(part))
            .with_context(how)?;
        rest = next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_never_of_more_than_one_unit() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(short(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn times_are_written_as_kubectl_takes_them_or_in_seconds() {
        for (text, seconds) in [
            ("120", 120),
            ("90s", 90),
            ("2m", 120),
            ("1h30m", 5_400),
            ("0s", 0),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_secs(seconds));
        }
        assert_eq!(parse("500ms").unwrap(), Duration::from_millis(500));
        for wrong in [
            "",
            "m",
            "3x",
            "3 m",
            "-3s",
            "1.5m",
            "99999999999h",
            "4294967295h4294967295h4294967295h9m9",
        ] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(
                error.contains("write a time as 90s") || wrong.len() > 20,
                "{error}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_behind_makes_nothing_negative() {
        let now: Timestamp = "2026-11-25T18:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-25T18:00:03Z".parse().unwrap();
        assert_eq!(since(later, now), Duration::ZERO);
        assert_eq!(since(now, later), Duration::from_secs(3));
        assert_eq!(column(None, now), "-");
    }
}
