//! Limits of gestures as written in a playbook file.

use super::entries::{Above, Limit, Times};
use super::source::{Reader, limits};
use crate::taxonomy::fields::Fields;

impl Reader<'_, '_> {
    pub(super) fn above(&mut self, fields: &Fields<'_>, limit: &Limit) -> Above {
        let Some(given) = fields.string("above", self.problems) else { return Above::Supervisor };
        match given.value.parse() {
            Ok(_) if limit.is_empty() => {
                self.problems.report(&given.place, "contradicts the missing limit: nothing is above it");
                Above::Supervisor
            }
            Ok(above) => above,
            Err(unknown) => {
                self.problems.report(&given.place, unknown.to_string());
                Above::Supervisor
            }
        }
    }

    pub(super) fn limit(&mut self, fields: &Fields<'_>) -> Limit {
        let known = ["amount", "percent", "times", "days", "soonest_hours"];
        let Some(table) = fields.table("limit", &known, self.problems) else { return Limit::default() };
        let amount = self.positive(&table, "amount", limits::AMOUNT);
        let percent = self.positive(&table, "percent", 100.0);
        let times = self.whole(&table, "times", limits::DAYS);
        let days = self.whole(&table, "days", limits::DAYS);
        let soonest_hours = self.positive(&table, "soonest_hours", limits::DAYS * 24.0);
        if amount.is_some() && percent.is_some() {
            self.problems.report(&table.place("percent"), "contradicts amount: a gesture is measured by one of them");
        }
        for (one, other) in [("times", "days"), ("days", "times")] {
            if table.has(one) && !table.has(other) {
                self.problems
                    .report(&table.place(one), format!("needs {other} beside it: so many times in so many days"));
            }
        }
        if known.iter().all(|key| !table.has(key)) {
            self.problems.report(table.own_place(), format!("limits nothing; allowed: {}", known.join(", ")));
        }
        let times = times.zip(days).map(|(count, days)| Times { count, days });
        Limit { amount, percent, times, soonest_hours }
    }

    /// A number from 0 to `most`.
    pub(super) fn positive(&mut self, fields: &Fields<'_>, key: &str, most: f64) -> Option<f64> {
        let number = fields.number(key, self.problems)?;
        if !(0.0..=most).contains(&number.value) {
            self.problems.report(&number.place, format!("{} is out of range; allowed: 0 to {most}", number.value));
            return None;
        }
        Some(number.value)
    }

    /// A whole number from 1 to `most`.
    fn whole(&mut self, fields: &Fields<'_>, key: &str, most: f64) -> Option<u32> {
        let number = fields.number(key, self.problems)?;
        if !(1.0..=most).contains(&number.value) || number.value.fract() != 0.0 {
            self.problems
                .report(&number.place, format!("{} is not allowed; a whole number from 1 to {most} is", number.value));
            return None;
        }
        Some(number.value as u32)
    }
}
