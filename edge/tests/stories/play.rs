//! Plays a story: does its steps in order, and checks what everybody sees.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, UNIX_EPOCH};

use jet9_cache::Timestamp;

use super::client::{Asking, Door, HOST, Question};
use super::edge;
use super::expectation::{self, Came, Rule};
use super::origin::{Pending, Script};
use super::parse;
use super::story::{Action, End, Ending, Message, Step, Story, When};
use super::support::cluster::{Cluster, NOBODY, Side};
use super::support::edge::Jet9;
use super::support::scene::{Scene, attempt};
use super::support::setup::{Setup, Site};
use super::support::wait::{SOON, until, until_true};

/// How a story is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Http1,
    Disk,
    Http2,
}

/// How long a play may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Tuesday, 1 January 2030, 00:00:00 GMT.
const BEGINNING: Timestamp = Timestamp::from_unix_seconds(1_893_456_000);

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Http1, Self::Disk, Self::Http2];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Disk => "disk",
            Self::Http2 => "http2",
        }
    }

    /// Whether the story is played so.
    pub(crate) const fn is_of(self, story: &Story) -> bool {
        match self {
            Self::Http1 => true,
            Self::Disk => story.without_disk.is_none(),
            Self::Http2 => story.without_http2.is_none(),
        }
    }
}

/// Plays a story. Fails with what went wrong where, and what the edge said.
pub(crate) fn play(story: &'static Story, mode: Mode) -> Result<(), String> {
    let played = attempt(LIMIT, move |scene| {
        let mut play = Play::set(scene, story, mode);
        for step in &story.steps {
            let outcome = catch_unwind(AssertUnwindSafe(|| play.step(step)))
                .unwrap_or_else(|reason| Err((step.line, words_of(reason.as_ref()))));
            if let Err((line, problem)) = outcome {
                panic!("{}:{line}: {problem}", story.file);
            }
        }
        if let Err(problem) = play.end() {
            panic!("{}: at the end: {problem}", story.file);
        }
    });
    played.map_err(|failure| format!("{}\n{}", words_of(failure.reason.as_ref()), failure.words))
}

/// What a panic said.
pub(crate) fn words_of(reason: &(dyn Any + Send)) -> String {
    let text = reason.downcast_ref::<String>().cloned();
    let text = text.or_else(|| reason.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

/// What came of a step: a problem and the line that it belongs to.
type Outcome = Result<(), (usize, String)>;

struct Play {
    mode: Mode,
    now: Timestamp,
    edge: Jet9,
    cluster: Cluster,
    origin: Script,
    /// Requests of clients that the story has not seen the last answer to, with the collapsed requests that there were before each.
    asking: HashMap<String, (Asking, f64)>,
    /// Requests that the origin has not answered to the end.
    pending: HashMap<String, Pending>,
}

impl Play {
    fn set(scene: &Scene, story: &Story, mode: Mode) -> Self {
        let origin = Script::start();
        let cluster = Cluster::of_one("c-1", origin.address());
        let mut site = Site::of("s-1", &[HOST]);
        if let Some(sections) = &story.site {
            site = site.sections(sections);
        }
        let mut setup = Setup::new().site(site).cluster(cluster.clone());
        if mode == Mode::Disk {
            setup = setup.disk("64MiB");
        }
        let files = setup.write(scene.dir());
        files.put(edge::CLOCK_FILE, &BEGINNING.unix_millis().to_string());
        Self {
            mode,
            now: BEGINNING,
            edge: Jet9::start_as(edge::program, scene, files),
            cluster,
            origin,
            asking: HashMap::new(),
            pending: HashMap::new(),
        }
    }

    fn step(&mut self, step: &Step) -> Outcome {
        let here = |problem: String| (step.line, problem);
        match &step.action {
            Action::ClientSends {
                who,
                method,
                target,
                message,
            } => self
                .client_sends(who, method, target, message)
                .map_err(here),
            Action::ClientWaits { who } => self.client_waits(who).map_err(here),
            Action::ClientBegins { who } => self.client_begins(who).map_err(here),
            Action::ClientSees {
                who,
                status,
                end,
                rules,
            } => self.client_sees(step.line, who, (*status, *end), rules),
            Action::OriginSees {
                who,
                method,
                target,
                rules,
            } => self.origin_sees(step.line, who, (method, target), rules),
            Action::OriginSeesNothing => self.nothing_untold().map_err(here),
            Action::OriginAnswers {
                who,
                status,
                message,
            } => self.origin_answers(who, *status, message).map_err(here),
            Action::OriginAdds { who, content } => {
                let added = self.pending(who).map(|pending| pending.add(content));
                added.map(|left| self.keep(who, left)).map_err(here)
            }
            Action::OriginCloses { who } => self.pending(who).map(Pending::close).map_err(here),
            Action::OriginStops => self.move_origin(NOBODY).map_err(here),
            Action::OriginStarts => {
                let address = self.origin.address().to_string();
                self.move_origin(&address).map_err(here)
            }
            Action::Advance(by) => self.advance(*by).map_err(here),
            Action::Restart { how, when } => self.restart(*how, *when).map_err(here),
            Action::Purge(call) => self.purge(call).map_err(here),
        }
    }

    fn client_sends(
        &mut self,
        who: &str,
        method: &str,
        target: &str,
        message: &Message,
    ) -> Result<(), String> {
        self.settle()?;
        let mut fields = self.fields(message)?;
        if !message.content.is_empty() {
            fields.push((
                "Content-Length".to_owned(),
                message.content.len().to_string(),
            ));
        }
        let question = Question {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            content: message.content.clone(),
        };
        let door = match self.mode {
            Mode::Http1 | Mode::Disk => Door::Http1(self.edge.bound.http),
            Mode::Http2 => Door::Http2(self.edge.bound.https, self.edge.files.roots.clone()),
        };
        let before = self.collapsed();
        let asking = Asking::begin(door, question);
        match self.asking.insert(who.to_owned(), (asking, before)) {
            Some(_) => Err(format!("client {who} has a request under way already")),
            None => Ok(()),
        }
    }

    fn client_waits(&self, who: &str) -> Result<(), String> {
        let before = self.asking.get(who).map(|(_, before)| *before);
        let before = before.ok_or_else(|| format!("client {who} has sent nothing"))?;
        until_true("the request is collapsed", || self.collapsed() > before);
        Ok(())
    }

    fn client_begins(&self, who: &str) -> Result<(), String> {
        let asking = self.asking.get(who);
        let (asking, _) = asking.ok_or_else(|| format!("client {who} has sent nothing"))?;
        until_true("the head of the answer", || asking.has_head());
        Ok(())
    }

    fn client_sees(
        &mut self,
        line: usize,
        who: &str,
        (status, end): (u16, End),
        rules: &[Rule],
    ) -> Outcome {
        let asking = self.asking.get_mut(who);
        let (asking, _) = asking.ok_or_else(|| (line, format!("client {who} has sent nothing")))?;
        let answer = asking.answer().map_err(|problem| {
            let untold = self.nothing_untold().err().unwrap_or_default();
            (line, format!("{problem} {untold}"))
        })?;
        let seen = format!("\nthe client saw {answer:?}");
        if answer.status >= 200 || answer.status == 101 {
            self.asking.remove(who);
        }
        if answer.status != status {
            return Err((line, format!("the status is {}{seen}", answer.status)));
        }
        expectation::check_end(end, &answer.end).map_err(|problem| (line, problem + &seen))?;
        let came = Came {
            fields: &answer.fields,
            content: &answer.content,
        };
        self.check(rules, &came)
            .map_err(|(at, problem)| (at, problem + &seen))
    }

    fn origin_sees(
        &mut self,
        line: usize,
        who: &str,
        (method, target): (&str, &str),
        rules: &[Rule],
    ) -> Outcome {
        let pending = self.origin.next().ok_or_else(|| {
            let asking = self.asking.values_mut();
            let came: Vec<_> = asking.filter_map(|(asking, _)| asking.early()).collect();
            let problem = format!("the origin was not asked within {SOON:?}\nclients saw {came:?}");
            (line, problem)
        })?;
        let seen = format!("\nthe origin saw {:?}", pending.seen);
        if (pending.seen.method.as_str(), pending.seen.target.as_str()) != (method, target) {
            return Err((line, format!("another request came{seen}")));
        }
        let came = Came {
            fields: &pending.seen.fields,
            content: &pending.content,
        };
        self.check(rules, &came)
            .map_err(|(at, problem)| (at, problem + &seen))?;
        self.keep(who, Some(pending));
        Ok(())
    }

    fn origin_answers(&mut self, who: &str, status: u16, message: &Message) -> Result<(), String> {
        let pending = self.pending(who)?;
        let mut fields = String::new();
        if status >= 200 && !message.names("date") {
            write!(fields, "Date: {}\r\n", date(self.now)).expect("memory");
        }
        for (name, value) in self.fields(message)? {
            write!(fields, "{name}: {value}\r\n").expect("memory");
        }
        let left = pending.answer(status, message, &fields);
        self.keep(who, left);
        Ok(())
    }

    fn pending(&mut self, who: &str) -> Result<Pending, String> {
        let pending = self.pending.remove(who);
        pending.ok_or_else(|| format!("no request {who:?} waits for the origin"))
    }

    fn keep(&mut self, who: &str, pending: Option<Pending>) {
        if let Some(pending) = pending {
            self.pending.insert(who.to_owned(), pending);
        }
    }

    /// Publishes that the master lives elsewhere, and waits until the edge knows.
    fn move_origin(&mut self, address: &str) -> Result<(), String> {
        self.settle()?;
        self.cluster = Cluster {
            a: address.parse().map_err(|_| "no address".to_owned())?,
            ..self.cluster.serving(Side::A)
        };
        self.edge.files.publish(&self.cluster);
        let epoch = self.cluster.epoch as f64;
        until_true("the edge follows", || {
            let now = self.edge.metrics();
            let is = |sample: &str, value: f64| now.get(sample) == Some(&value);
            is(r#"jet9_cluster_epoch{cluster="c-1"}"#, epoch)
                && is(r#"jet9_clusters{mastership="live"}"#, 1.0)
        });
        Ok(())
    }

    fn advance(&mut self, by: Duration) -> Result<(), String> {
        self.settle()?;
        let millis = u64::try_from(by.as_millis()).map_err(|_| "too long".to_owned())?;
        self.now = Timestamp::from_unix_millis(self.now.unix_millis() + millis);
        let (line, moved) = edge::advance(by, self.now);
        self.edge.process.tell(&line);
        until("the clock moved", SOON, || {
            self.edge
                .process
                .out
                .find(|line| (line == moved).then_some(()))
        });
        Ok(())
    }

    fn restart(&mut self, how: Ending, when: When) -> Result<(), String> {
        if when == When::WithDisk && self.mode != Mode::Disk {
            return Ok(());
        }
        self.settle()?;
        let now = self.now.unix_millis().to_string();
        self.edge.files.put(edge::CLOCK_FILE, &now);
        if how == Ending::Stop {
            self.edge.terminate();
            self.edge.process.wait(SOON);
        }
        self.edge.start_again();
        Ok(())
    }

    fn purge(&mut self, call: &serde_json::Value) -> Result<(), String> {
        self.settle()?;
        let answer = self.edge.admin("POST", "/v1/purges", call);
        match answer.status {
            200 => Ok(()),
            _ => Err(format!("the purge was refused: {answer:?}")),
        }
    }

    /// Waits until all that was answered is stored, unless the story holds something back.
    fn settle(&mut self) -> Result<(), String> {
        if !self.asking.is_empty() || !self.pending.is_empty() {
            return Ok(());
        }
        until("fetches end", SOON, || {
            if let Err(problem) = self.nothing_untold() {
                return Some(Err(problem));
            }
            let open = self.edge.metric("jet9_origin_fetches_open");
            (open == 0.0).then_some(Ok(()))
        })
    }

    fn end(&mut self) -> Result<(), String> {
        if let Some(who) = self.asking.keys().next() {
            return Err(format!("what client {who:?} sees is not told"));
        }
        if let Some(who) = self.pending.keys().next() {
            return Err(format!("how the origin answers {who:?} is not told"));
        }
        self.settle()
    }

    fn nothing_untold(&mut self) -> Result<(), String> {
        match self.origin.untold() {
            Some(seen) => Err(format!("the origin was asked, which is not told: {seen:?}")),
            None => Ok(()),
        }
    }

    fn collapsed(&self) -> f64 {
        self.edge.metric("jet9_cache_collapsed_requests_total")
    }

    fn check(&self, rules: &[Rule], came: &Came<'_>) -> Outcome {
        expectation::check(rules, came, |value| self.expand(value))
    }

    /// The fields that are sent.
    fn fields(&self, message: &Message) -> Result<Vec<(String, String)>, String> {
        let mut fields = Vec::new();
        for (name, value) in &message.fields {
            if let Some(value) = value {
                fields.push((name.clone(), self.expand(value)?));
            }
        }
        Ok(fields)
    }

    /// Fills in dates and the site.
    fn expand(&self, value: &str) -> Result<String, String> {
        let Some((before, rest)) = value.split_once('{') else {
            return Ok(value.to_owned());
        };
        let (word, after) = rest
            .split_once('}')
            .ok_or_else(|| format!("{{ without }}: {value:?}"))?;
        let is = self.word(word)?;
        Ok(format!("{before}{is}{}", self.expand(after)?))
    }

    fn word(&self, word: &str) -> Result<String, String> {
        if word == "site" {
            let scheme = match self.mode {
                Mode::Http1 | Mode::Disk => "http",
                Mode::Http2 => "https",
            };
            return Ok(format!("{scheme}://{HOST}"));
        }
        let shift = word
            .strip_prefix("now")
            .ok_or_else(|| format!("{{{word}}} stands for nothing"))?;
        let now = self.now.unix_millis();
        let then = match (shift.strip_prefix('+'), shift.strip_prefix('-')) {
            (Some(by), _) => now + parse::duration(by)?.as_millis() as u64,
            (_, Some(by)) => now - parse::duration(by)?.as_millis() as u64,
            (None, None) => now,
        };
        Ok(date(Timestamp::from_unix_millis(then)))
    }
}

fn date(at: Timestamp) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.unix_seconds()))
}
