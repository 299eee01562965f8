use std::{collections::BTreeMap, fmt, sync::LazyLock};

use iso_currency::Currency;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An amount of a currency in its smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, i64)", into = "(String, i64)")]
pub struct Money {
    currency: Currency,
    minor: i64,
}

impl Money {
    /// Reads "EUR" and "12.50".
    pub fn parse(currency_code: &str, amount: &str) -> Result<Self, MoneyError> {
        let currency = Currency::from_code(currency_code).ok_or(MoneyError::Currency)?;
        let digits = digits(currency);
        let amount = Decimal::from_str_exact(amount).map_err(|_| MoneyError::Amount { digits })?;
        let minor = amount
            .checked_mul(Decimal::from(10_i64.pow(digits)))
            .filter(|minor| minor.fract().is_zero())
            .and_then(|minor| i64::try_from(minor).ok())
            .ok_or(MoneyError::Amount { digits })?;
        Ok(Self { currency, minor })
    }

    /// From a row.
    pub fn from_minor(currency_code: &str, minor: i64) -> Option<Self> {
        Currency::from_code(currency_code).map(|currency| Self { currency, minor })
    }

    /// ISO 4217.
    pub fn currency_code(self) -> &'static str {
        self.currency.code()
    }

    /// In the currency's smallest unit.
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The amount as the nearest number.
    pub fn as_number(self) -> f64 {
        self.minor as f64 / 10_f64.powi(i32::try_from(digits(self.currency)).unwrap_or(0))
    }

    /// Decimal text with all digits that the currency has.
    pub fn amount(self) -> String {
        Decimal::new(self.minor, digits(self.currency)).to_string()
    }
}

/// The codes of the currencies that have not two digits after the point, by how many they have.
pub(super) fn odd_currencies() -> &'static BTreeMap<u32, Vec<&'static str>> {
    static ODD: LazyLock<BTreeMap<u32, Vec<&'static str>>> = LazyLock::new(|| {
        let letters = || 'A'..='Z';
        let codes =
            letters().flat_map(|a| letters().flat_map(move |b| letters().map(move |c| String::from_iter([a, b, c]))));
        let mut odd: BTreeMap<u32, Vec<&'static str>> = BTreeMap::new();
        for currency in codes.filter_map(|code| Currency::from_code(&code)) {
            odd.entry(digits(currency)).or_default().push(currency.code());
        }
        odd.remove(&2);
        odd
    });
    &ODD
}

fn digits(currency: Currency) -> u32 {
    currency.exponent().map_or(0, u32::from)
}

/// What is wrong with an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoneyError {
    /// The currency.
    Currency,
    /// The amount, for a currency with so many digits after the point.
    Amount {
        /// How many.
        digits: u32,
    },
}

impl fmt::Display for MoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Currency => f.write_str("must be an ISO 4217 code such as \"EUR\""),
            Self::Amount { digits } => {
                write!(f, "must be decimal text such as \"12\" with at most {digits} digits after the point")
            }
        }
    }
}

impl TryFrom<(String, i64)> for Money {
    type Error = String;

    fn try_from((code, minor): (String, i64)) -> Result<Self, String> {
        Self::from_minor(&code, minor).ok_or(code)
    }
}

impl From<Money> for (String, i64) {
    fn from(money: Money) -> Self {
        (money.currency_code().to_owned(), money.minor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        for (code, amount, minor, shown) in [
            ("EUR", "12.5", 1250, "12.50"),
            ("JPY", "7", 7, "7"),
            ("KWD", "0.001", 1, "0.001"),
            ("USD", "-3", -300, "-3.00"),
            ("USD", "0", 0, "0.00"),
        ] {
            let money = Money::parse(code, amount).unwrap();
            assert_eq!((money.minor(), money.amount().as_str()), (minor, shown));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for (code, amount) in [
            ("EUR", "1.234"),
            ("JPY", "1.5"),
            ("EUR", "1e3"),
            ("EUR", ""),
            ("EUR", "NaN"),
            ("EUR", "99999999999999999999"),
        ] {
            assert!(matches!(Money::parse(code, amount), Err(MoneyError::Amount { .. })), "{code} {amount}");
        }
        assert_eq!(Money::parse("EURO", "1"), Err(MoneyError::Currency));
    }

    proptest! {
        #[test]
        fn every_amount_reads_back_as_it_was_written(minor in any::<i64>()) {
            let money = Money::from_minor("EUR", minor).unwrap();
            prop_assert_eq!(Money::parse("EUR", &money.amount()), Ok(money));
        }
    }
}
