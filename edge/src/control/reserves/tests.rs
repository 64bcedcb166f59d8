//! Sides and guards that answer what a test says, asked over loopback.

use jet9_cluster::Mastership;
use parking_lot::RwLock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::*;
use crate::origin::testing::{TestNode, nowhere};

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers every connection with what it is told to at the time.
struct Speaker {
    addr: SocketAddr,
    answer: Arc<RwLock<String>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Speaker {
    async fn new(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = Arc::new(RwLock::new(answer.to_owned()));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (says, heard) = (Arc::clone(&answer), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                heard.lock().push(String::from_utf8(head).unwrap());
                let text = says.read().clone();
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Self {
            addr,
            answer,
            heads,
        }
    }

    fn says(&self, answer: &str) {
        answer.clone_into(&mut self.answer.write());
    }
}

fn document(a: &str, b: &str) -> Document {
    let text = format!(
        r#"{{"v":1,"cluster":"c-1","epoch":42,"phase":"serving","master":"a","sides":{{"a":{a},"b":{b}}},"fencing":"confirmed"}}"#
    );
    Document::parse(text.as_bytes()).unwrap()
}

fn watch(document: Document) -> (Arc<Masters>, Arc<Reserves>) {
    let masters = Masters::fixed([document]);
    let limits = Limits {
        probe_interval: Duration::from_millis(10),
        ..Limits::default()
    };
    let reserves = Reserves::watch(&masters, &limits, &Registry::new()).unwrap();
    (masters, reserves)
}

async fn until(what: impl Fn() -> bool) {
    let is_so = async {
        while !what() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, is_so).await.expect("the fact");
}

async fn until_found(reserves: &Reserves, expected: Reserve) {
    let cluster = ClusterId::parse("c-1").unwrap();
    until(|| reserves.of(&cluster) == Some(expected)).await;
}

#[tokio::test]
async fn a_reserve_without_a_guard_is_connected_to_and_sent_nothing() {
    let (side, away) = (Speaker::new("").await, nowhere());
    let at = |addr: SocketAddr| format!(r#"{{"addrs":["{addr}"]}}"#);
    let (_masters, reserves) = watch(document(&at(away), &at(side.addr)));
    until_found(&reserves, Reserve::Ready).await;
    until(|| side.heads.lock().len() > 2).await;
    assert!(side.heads.lock().iter().all(String::is_empty));

    let (_masters, reserves) = watch(document(&at(side.addr), &at(away)));
    until_found(&reserves, Reserve::Unreachable).await;
}

#[tokio::test]
async fn a_guard_of_a_reserve_has_to_refuse_what_is_for_the_master() {
    const REFUSES: &str = "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 0\r\nJet9-Not-Processed: ?1\r\n\
        Content-Length: 0\r\n\r\n";
    let (guard, away) = (Speaker::new(REFUSES).await, nowhere());
    let a = format!(r#"{{"addrs":["{away}"]}}"#);
    let b = format!(r#"{{"addrs":["{away}"],"guard":"{}"}}"#, guard.addr);
    let (_masters, reserves) = watch(document(&a, &b));
    until_found(&reserves, Reserve::Ready).await;
    let asked = guard.heads.lock()[0].to_ascii_lowercase();
    assert!(
        asked
            .starts_with("get /.well-known/jet9-guard http/1.1\r\nhost: c-1\r\njet9-epoch: 42\r\n"),
        "{asked}"
    );
    guard.says("HTTP/1.1 204 No Content\r\nJet9-Epoch: 42\r\n\r\n");
    until_found(&reserves, Reserve::Accepting).await;
    guard.says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    until_found(&reserves, Reserve::Unguarded).await;
    guard.says("");
    until_found(&reserves, Reserve::Unreachable).await;
    guard.says(REFUSES);
    until_found(&reserves, Reserve::Ready).await;
}

#[tokio::test]
async fn a_lease_that_nobody_renews_on_the_way_is_asked_for_at_the_guard() {
    let guard = Speaker::new("HTTP/1.1 204 No Content\r\nJet9-Epoch: 42;ttl=800\r\n\r\n").await;
    let away = nowhere();
    let node = TestNode::new(|_| {});
    let text = format!(
        r#"{{"v":1,"cluster":"c-1","epoch":42,"phase":"serving","master":"a","fencing":"lease","edge_lease_ms":1000,
        "sides":{{"a":{{"addrs":["{away}"],"guard":"{}"}},"b":{{"addrs":["{away}"]}}}}}}"#,
        guard.addr
    );
    let clusters = node.place().join("clusters");
    std::fs::write(clusters.join("c-1.json"), text).unwrap();
    let masters = &node.edge.masters;
    masters.reload().await;
    let cluster = ClusterId::parse("c-1").unwrap();
    let is_live = || matches!(masters.current(&cluster), Mastership::Live { .. });
    assert!(!is_live(), "a directory gives no lease");
    let _reserves = Reserves::watch(masters, &Limits::default(), &Registry::new()).unwrap();
    until(is_live).await;
    until(|| guard.heads.lock().len() > 5).await;
    guard.says(
        "HTTP/1.1 421 Misdirected Request\r\nJet9-Epoch: 0\r\nJet9-Not-Processed: ?1\r\n\r\n",
    );
    until(|| !is_live()).await;
}

#[tokio::test]
async fn guards_that_do_not_answer_leave_places_to_those_that_do_and_take_turns() {
    let clusters = |names: std::ops::Range<usize>| -> Vec<ClusterId> {
        let id = |n| ClusterId::parse(&format!("c-{n}")).unwrap();
        names.map(id).collect()
    };
    let mut queue = Queue::default();
    let mut tasks = JoinSet::new();
    // Asks whoever is next, of 100, and finds that the first eighty do not answer; who was asked?
    let mut round = |queue: &mut Queue| -> Vec<ClusterId> {
        let asked = queue.next(clusters(0..100), |cluster| cluster);
        let started: Vec<_> = asked.iter().map(|_| tasks.spawn(async {}).id()).collect();
        for (task, cluster) in started.iter().zip(&asked) {
            queue.under_way.insert(*task, cluster.clone());
        }
        let others = queue.next(clusters(0..100), |cluster| cluster);
        assert!(
            others.iter().all(|other| !asked.contains(other)),
            "none twice at once"
        );
        let answers = clusters(80..100);
        for (task, cluster) in started.iter().zip(&asked) {
            queue.done(*task, answers.contains(cluster));
        }
        asked
    };
    let (first, second) = (round(&mut queue), round(&mut queue));
    assert_eq!((first.len(), second.len()), (AT_ONCE, 36 + SILENT_AT_ONCE));
    let later: Vec<_> = (0..5).map(|_| round(&mut queue)).collect();
    for asked in &later {
        let answering = clusters(80..100)
            .iter()
            .filter(|cluster| asked.contains(cluster))
            .count();
        assert_eq!((answering, asked.len()), (20, 20 + SILENT_AT_ONCE));
    }
    let everybody: HashSet<_> = later.iter().flatten().cloned().collect();
    assert_eq!(everybody.len(), 100, "each has its turn");
}
