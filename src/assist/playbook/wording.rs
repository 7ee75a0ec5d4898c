//! Limits of gestures in words.

use super::entries::{Gesture, Limit, ReplyLanguage, Times};

/// The limit of a gesture in one line, as in "up to 1000 RUB; once in 90 days"; empty if there is none.
pub fn limit_in_words(gesture: &Gesture, currency: &str, language: ReplyLanguage) -> String {
    let Limit { amount, percent, times, soonest_hours } = &gesture.limit;
    let russian = language == ReplyLanguage::Russian;
    let mut parts = Vec::new();
    let up_to = if russian { "до" } else { "up to" };
    parts.extend(amount.map(|amount| format!("{up_to} {amount} {currency}")));
    parts.extend(percent.map(|percent| format!("{up_to} {percent}%")));
    parts.extend(times.map(|Times { count, days }| match russian {
        true => format!("не чаще {count} раз за {days} дн."),
        false => format!("at most {count} times in {days} days"),
    }));
    parts.extend(soonest_hours.map(|hours| match russian {
        true => format!("срок не раньше чем через {hours} ч"),
        false => format!("no sooner than in {hours} hours"),
    }));
    parts.join("; ")
}
