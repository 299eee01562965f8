//! How long the claim of a lot takes, with few contacts waiting and with a million: picked and intended as the dispatcher does it.

use std::time::{Duration, Instant, SystemTime};

use rapport::{
    config::DatabaseLocation,
    contacts::{
        Lane, Queue,
        claims::{self, Intent},
    },
    database::{self, Database, StoreError},
    ids::{AddressId, ClaimToken, ContactId},
};

use super::{
    Bench, Table,
    machine::percentile,
    place::{Kind, Place},
    process::Peaks,
    seed,
};

/// How many contacts the dispatcher claims at once.
const LOT: u64 = 56;
/// How many times.
const CLAIMS: usize = 100;
const WAITING: [u32; 2] = [10_000, 1_000_000];

pub async fn measure(bench: &mut Bench) {
    let conditions = [format!(
        "{CLAIMS} claims of {LOT} contacts out of those that are due, one after the other; compared with the same in \
            a short queue by the quickest tenth, which other programs disturb least; target: within 20 %"
    )];
    let mut table = Table::begin(
        "Claim latency",
        &conditions,
        &["", "waiting", "p10 ms", "p50 ms", "p99 ms", "of the short queue's p10"],
    );
    for kind in bench.kinds.clone() {
        let mut short = None;
        for waiting in WAITING {
            let [p10, p50, p99] = claim(&kind, waiting, &mut bench.peaks).await;
            let short = *short.get_or_insert(p10);
            table.row(&[
                kind.name().to_owned(),
                waiting.to_string(),
                millis(p10),
                millis(p50),
                millis(p99),
                format!("{:.2}", p10.as_secs_f64() / short.as_secs_f64()),
            ]);
        }
    }
    table.print();
}

async fn claim(kind: &Kind, waiting: u32, peaks: &mut Peaks) -> [Duration; 3] {
    let place = Place::make(kind).await;
    seed::begin(&place, peaks).await;
    let record = place.record().await;
    seed::multiply(&record, seed::CHECK_INS, waiting, SystemTime::now()).await;
    record.close().await.expect("it closes");
    // What was just made is on its way to the disk still, and every commit would wait for it.
    assert!(std::process::Command::new("sync").status().expect("sync runs").success());
    let location = match kind {
        Kind::Sqlite => DatabaseLocation::Sqlite(place.folder.path().join("rapport.db")),
        Kind::Postgres(_) => DatabaseLocation::Postgres(place.url().to_owned()),
    };
    let db = Database::connect(&location).await.expect("the database opens");
    let queue = Queue { lane: Lane::FollowUp, campaign_id: None };
    let mut took = Vec::new();
    for _ in 0..CLAIMS {
        let begin = Instant::now();
        let claimed = claim_one_lot(&db, &queue).await.expect("claimed");
        took.push(begin.elapsed());
        assert_eq!(claimed.len() as u64, LOT);
    }
    db.close().await.expect("it closes");
    [10, 50, 99].map(|percent| percentile(&mut took, percent))
}

async fn claim_one_lot(db: &Database, queue: &Queue) -> Result<Vec<ContactId>, StoreError> {
    let now = SystemTime::now().into();
    let tx = db.begin_write().await?;
    let picked = claims::due(&tx, queue, now, LOT).await?;
    let intents: Vec<Intent> = picked
        .iter()
        .map(|contact| Intent {
            contact_id: contact.contact_id,
            revision: contact.revision,
            number: contact.attempt_count + 1,
            address_id: AddressId::generate(),
            template_version: 1,
            consent: None,
        })
        .collect();
    let claimed = claims::intend(&tx, ClaimToken::generate(), &intents, "bench", now).await?;
    database::commit(tx).await?;
    Ok(claimed)
}

fn millis(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1_000.0)
}
