//! A DNS server for a story: real questions on a real port, answered from what the story says.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, MX, TXT},
    },
};
use tokio::{net::UdpSocket, task::JoinHandle};

/// What stands at a name.
#[derive(Debug, Clone)]
pub enum Entry {
    Text(String),
    MailServer(&'static str),
    Address,
}

/// A zone that can be changed while it is served.
#[derive(Debug)]
pub struct Zone {
    entries: Arc<Mutex<BTreeMap<String, Vec<Entry>>>>,
    /// Whether it answers at all.
    fails: Arc<Mutex<bool>>,
    pub addr: SocketAddr,
    server: JoinHandle<()>,
}

impl Zone {
    pub async fn serve() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let (entries, fails) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::<Mutex<bool>>::default());
        let (own, failing) = (Arc::clone(&entries), Arc::clone(&fails));
        let server = tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((size, from)) = socket.recv_from(&mut buffer).await {
                let fails = *failing.lock().unwrap();
                let answer = answer(&buffer[..size], &own.lock().unwrap(), fails);
                if let Some(answer) = answer {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { entries, fails, addr, server }
    }

    /// Says what stands at a name; nothing = nothing does.
    pub fn set(&self, name: &str, entries: &[Entry]) {
        self.entries.lock().unwrap().insert(name.to_owned(), entries.to_vec());
    }

    /// Says which text stands at a name.
    pub fn text(&self, name: &str, text: &str) {
        self.set(name, &[Entry::Text(text.to_owned())]);
    }

    /// Fails from now on, or works again.
    pub fn fail(&self, fails: bool) {
        *self.fails.lock().unwrap() = fails;
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(question: &[u8], entries: &BTreeMap<String, Vec<Entry>>, fails: bool) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let query = asked.queries.first()?.clone();
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.add_query(query.clone());
    if fails {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer.to_vec().ok();
    }
    let name = query.name().to_ascii().trim_end_matches('.').to_lowercase();
    match entries.get(&name) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(entries) => {
            let data = entries.iter().filter_map(|entry| data(entry, query.query_type()));
            answer.add_answers(data.map(|data| Record::from_rdata(query.name().clone(), 60, data)));
        }
    }
    answer.to_vec().ok()
}

fn data(entry: &Entry, wanted: RecordType) -> Option<RData> {
    match (entry, wanted) {
        // As DNS carries it: in pieces of at most 255 octets.
        (Entry::Text(text), RecordType::TXT) => {
            let pieces = text.as_bytes().chunks(255).map(|piece| String::from_utf8(piece.to_vec()).unwrap());
            Some(RData::TXT(TXT::new(pieces.collect())))
        }
        (Entry::MailServer(host), RecordType::MX) => Some(RData::MX(MX::new(10, Name::from_ascii(host).unwrap()))),
        (Entry::Address, RecordType::A) => Some(RData::A(A::new(192, 0, 2, 1))),
        _ => None,
    }
}
