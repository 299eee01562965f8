use chrono::NaiveDate;

/// The CDNOW sample; see NOTICE.
const SAMPLE: &str = include_str!("CDNOW_sample.txt");

/// One line of the sample: somebody bought something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The line's number, from 1.
    pub line: usize,
    /// Who bought: the number in the whole data set.
    pub customer: u32,
    /// When.
    pub date: NaiveDate,
    /// How many CDs.
    pub quantity: i32,
    /// For how many dollars; "0.00" is legal.
    pub amount: String,
}

/// Every purchase, in the order of the file: by customer, then by date.
pub fn all() -> Option<Vec<Purchase>> {
    SAMPLE.lines().zip(1..).map(|(text, line)| parse(text, line)).collect()
}

fn parse(text: &str, line: usize) -> Option<Purchase> {
    let mut columns = text.split_whitespace();
    let customer = columns.next()?.parse().ok()?;
    let _sample_id = columns.next()?;
    let date = NaiveDate::parse_from_str(columns.next()?, "%Y%m%d").ok()?;
    let quantity = columns.next()?.parse().ok()?;
    let amount = columns.next()?.to_owned();
    Some(Purchase { line, customer, date, quantity, amount })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_sample_is_whole() {
        let purchases = all().unwrap();
        assert_eq!(purchases.len(), 6_919);
        assert_eq!(purchases.iter().map(|purchase| purchase.customer).collect::<BTreeSet<_>>().len(), 2_357);
        let dates = || purchases.iter().map(|purchase| purchase.date);
        assert_eq!(dates().min(), NaiveDate::from_ymd_opt(1997, 1, 1));
        assert_eq!(dates().max(), NaiveDate::from_ymd_opt(1998, 6, 30));
        assert!(purchases.iter().any(|purchase| purchase.amount == "0.00"));
    }
}
