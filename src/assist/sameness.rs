//! Whether two texts say the same, word for word or nearly so.
//!
//! Texts are compared by their words in order, without case, punctuation and spacing. They are the same if at most one word in twenty of
//! the longer text was put in, left out or changed, and none of these is a number: a reply that names another amount says something else.

use super::masked::folded;

/// Of so many words one may differ.
const WORDS_FOR_ONE: usize = 20;

/// True if the texts say the same.
pub(super) fn say_the_same(one: &str, other: &str) -> bool {
    let (one, other) = (folded(one.chars()), folded(other.chars()));
    let (one, other): (Vec<&str>, Vec<&str>) = (one.split_whitespace().collect(), other.split_whitespace().collect());
    let most = one.len().max(other.len()) / WORDS_FOR_ONE;
    numbers(&one).eq(numbers(&other)) && one.len().abs_diff(other.len()) <= most && differ_in(&one, &other) <= most
}

fn numbers<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a &'a str> {
    words.iter().filter(|word| word.chars().any(|character| character.is_ascii_digit()))
}

/// The least number of words to put in, leave out or change to come from one text to the other (Levenshtein, 1966).
fn differ_in(one: &[&str], other: &[&str]) -> usize {
    // `before` and `after` hold the distances of beginnings of `other` from the beginning of `one` that ends at the word.
    let mut before: Vec<usize> = (0..=other.len()).collect();
    for (at, word) in (1..).zip(one) {
        let mut after = Vec::with_capacity(before.len());
        let mut left = at;
        after.push(left);
        for (known, pair) in other.iter().zip(before.windows(2)) {
            let [diagonal, above] = pair else { continue };
            left = (diagonal + usize::from(word != known)).min(above + 1).min(left + 1);
            after.push(left);
        }
        before = after;
    }
    before.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: &str = "Здравствуйте! Спасибо, что написали. Мы проверим, почему взяли комиссию, и вернём её, если она взята \
        по нашей ошибке. Ответим вам здесь до конца дня.";

    #[test]
    fn the_same_words_are_the_same_and_other_numbers_never() {
        for same in [
            TEMPLATE.to_uppercase().replace(". ", ".\n\n"),
            TEMPLATE.replace("вернём", "вернем"),
            TEMPLATE.replace("Спасибо, что", "Благодарим, что"),
            format!("{TEMPLATE} Ждите!"),
        ] {
            assert!(say_the_same(TEMPLATE, &same), "{same}");
        }
        for other in [
            TEMPLATE.replace("вернём её", "вернём 350 рублей"),
            format!("{TEMPLATE} 350"),
            TEMPLATE.replace("Ответим вам здесь до конца дня.", ""),
            "Здравствуйте! Спасибо, что написали. Жаль, что так вышло: комиссию взяли дважды.".to_owned(),
            String::new(),
        ] {
            assert!(!say_the_same(TEMPLATE, &other), "{other}");
        }
        assert!(!say_the_same("Разберёмся и ответим", "Разберёмся и напишем"), "of a few words none may differ");
    }

    proptest! {
        #[test]
        fn it_is_said_the_same_both_ways(one in "([а-г]{1,2} ){0,30}", other in "([а-г]{1,2} ){0,30}") {
            prop_assert!(say_the_same(&one, &one));
            prop_assert_eq!(say_the_same(&one, &other), say_the_same(&other, &one));
            let split = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let (left, right) = (split(&one), split(&other));
            let (left, right): (Vec<&str>, Vec<&str>) =
                (left.iter().map(String::as_str).collect(), right.iter().map(String::as_str).collect());
            let distance = differ_in(&left, &right);
            prop_assert!(distance >= left.len().abs_diff(right.len()) && distance <= left.len().max(right.len()));
        }
    }
}
