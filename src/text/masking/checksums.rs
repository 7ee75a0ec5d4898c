//! Check digits of the numbers that people and accounts carry.

/// Luhn's check (ISO/IEC 7812-1) of a card number.
pub(super) fn is_luhn(digits: &str) -> bool {
    let sum: u32 = values(digits)
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10) && digits.bytes().any(|digit| digit != b'0')
}

/// True for an 11-digit СНИЛС whose last two digits check the first nine.
pub(super) fn is_snils(digits: &str) -> bool {
    let Some((number, check)) = digits.split_at_checked(9).filter(|_| digits.len() == 11) else { return false };
    let sum: u32 = values(number).zip((1..=9).rev()).map(|(digit, weight)| digit * weight).sum();
    let expected = match sum % 101 {
        100 => 0,
        rest => rest,
    };
    number != "000000000" && check.parse() == Ok(expected)
}

/// True for a 10-digit (organisation) or 12-digit (person) ИНН with right check digits.
pub(super) fn is_inn(digits: &str) -> bool {
    const TEN: [u32; 9] = [2, 4, 10, 3, 5, 9, 4, 6, 8];
    const ELEVENTH: [u32; 10] = [7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    const TWELFTH: [u32; 11] = [3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    let checks = |weights: &[u32]| {
        let sum: u32 = values(digits).zip(weights).map(|(digit, weight)| digit * weight).sum();
        values(digits).nth(weights.len()) == Some(sum % 11 % 10)
    };
    let real = !digits.starts_with("00");
    match digits.len() {
        10 => real && checks(&TEN),
        12 => real && checks(&ELEVENTH) && checks(&TWELFTH),
        _ => false,
    }
}

/// The mod-97 check of an IBAN (ISO 13616), given without spaces in upper case.
pub(super) fn is_iban(compact: &str) -> bool {
    let Some((head, body)) = compact.split_at_checked(4) else { return false };
    let mut remainder = 0_u32;
    for c in body.chars().chain(head.chars()) {
        let Some(value) = c.to_digit(36) else { return false };
        remainder = if value < 10 { remainder * 10 + value } else { remainder * 100 + value } % 97;
    }
    remainder == 1
}

/// Length of the IBAN of a country (SWIFT IBAN registry).
pub(super) fn iban_length(country: &str) -> Option<usize> {
    let length = match country {
        "NO" => 15,
        "BE" => 16,
        "DK" | "FI" | "FO" | "GL" | "NL" => 18,
        "MK" | "SI" => 19,
        "AT" | "BA" | "EE" | "KZ" | "LT" | "LU" | "XK" => 20,
        "CH" | "HR" | "LI" | "LV" | "CR" => 21,
        "BG" | "BH" | "DE" | "GB" | "GE" | "IE" | "ME" | "RS" | "VA" => 22,
        "AE" | "GI" | "IL" | "IQ" | "TL" => 23,
        "AD" | "CZ" | "ES" | "MD" | "PK" | "RO" | "SA" | "SE" | "SK" | "TN" | "VG" => 24,
        "LY" | "PT" | "ST" => 25,
        "IS" | "TR" => 26,
        "FR" | "GR" | "IT" | "MC" | "SM" | "MR" => 27,
        "AL" | "AZ" | "BY" | "CY" | "DO" | "GT" | "HU" | "LB" | "PL" | "SV" | "NI" => 28,
        "BR" | "EG" | "PS" | "QA" | "UA" => 29,
        "JO" | "KW" | "MU" => 30,
        "MT" | "SC" => 31,
        "LC" => 32,
        "RU" => 33,
        _ => return None,
    };
    Some(length)
}

fn values(digits: &str) -> impl DoubleEndedIterator<Item = u32> + ExactSizeIterator {
    digits.as_bytes().iter().map(|digit| u32::from(digit.wrapping_sub(b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_digit_fails_every_check() {
        // Test numbers that card networks, banks and tax offices publish as examples.
        type Check = fn(&str) -> bool;
        let table: [(Check, &[&str]); 4] = [
            (is_luhn, &["4111111111111111", "5555555555554444", "378282246310005", "2200000000000004"]),
            (is_snils, &["11223344595", "08765430300"]),
            (is_inn, &["7707083893", "500100732259"]),
            (is_iban, &["GB82WEST12345698765432", "DE89370400440532013000"]),
        ];
        for (check, valid) in table {
            for number in valid {
                assert!(check(number), "{number}");
                let last = number.chars().last().unwrap().to_digit(10).unwrap();
                let wrong = format!("{}{}", &number[..number.len() - 1], (last + 1) % 10);
                assert!(!check(&wrong), "{wrong}");
            }
        }
        assert!(!is_luhn("0000000000000000"));
        assert!(!is_snils("123") && !is_inn("123") && !is_iban("DE"));
    }
}
