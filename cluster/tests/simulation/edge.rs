//! One edge: its view, its connections, its visitors; and what it does with them by the rules.
//!
//! Decides nothing about masters: that is [`View::mastership`]. The rest follows `edge::origin`: ask, connect, ask again, send; hold while
//! switching; cut when an epoch ends; send again only what may be. One event is one step without a pause in it, as it is between the last
//! look and the first byte of the real one.

use std::collections::{HashMap, VecDeque};

use jet9_cluster::{Change, Epoch, Highest, Mastership, Source, View};
use jet9_config::Side;

use crate::checks::{Sent, Witness};
use crate::world::{Clock, Event, MILLI, SECOND, World};

/// Places for requests that wait for a master.
const HELD_MAX: usize = 64;
/// Idle connections that are kept.
const IDLE_MAX: usize = 8;
/// How long exchanges may go on after a planned switch.
const GRACE: u64 = 2 * SECOND;
/// Between two attempts at a side that refuses.
const RETRY: u64 = 50 * MILLI;

#[derive(Debug, Default)]
pub(crate) struct SimulatedEdge {
    clock: Clock,
    view: View,
    /// What is on its disk.
    record: Option<Highest>,
    visits: HashMap<u64, Visit>,
    held: Vec<u64>,
    idle: VecDeque<Connection>,
    witness: Witness,
    /// Counts restarts: what was under way before is gone.
    life: u32,
    cut_off_until: u64,
    /// Until when everything from the store is late.
    pub(crate) slow_until: u64,
    pub(crate) paused_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    side: Side,
    opened_under: Epoch,
}

#[derive(Debug)]
struct Visit {
    is_post: bool,
    arrived: u64,
    doing: Doing,
    cut_once: bool,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    Deciding,
    Held {
        since: u64,
    },
    Connecting(Connection),
    Exchange {
        connection: Connection,
        epoch: Epoch,
        taken: bool,
    },
}

impl SimulatedEdge {
    pub(crate) fn new(ppm: i64, zero_ms: u64) -> Self {
        Self {
            clock: Clock { ppm, zero_ms },
            ..Self::default()
        }
    }

    pub(crate) fn happen(&mut self, me: usize, event: Event, world: &mut World) {
        match event {
            Event::Visit(_) => self.arrive(me, world),
            Event::Mishap(_) => self.mishap(me, world),
            Event::Watched { shows, .. } if world.now >= self.cut_off_until => {
                self.observe(me, shows, Source::Watch, world);
            }
            Event::Beside { shows, .. } => {
                let now = self.clock.read(world.now);
                self.view.observe(*shows, Source::Beside, now);
                self.wake(me, world);
            }
            Event::Poll { life, .. } if life == self.life => self.poll(me, world),
            Event::Reply {
                life, sent, shows, ..
            } if life == self.life => {
                self.reply(me, sent, shows, world);
            }
            Event::Connected { life, visit, .. } if life == self.life => {
                self.connected(me, visit, world);
            }
            Event::Answered { life, visit, .. } if life == self.life => self.answered(visit, world),
            Event::HoldOver { life, visit, .. } if life == self.life => {
                self.hold_over(visit, world)
            }
            Event::Cut { life, below, .. } if life == self.life => self.cut(me, below, world),
            _ => {}
        }
    }

    fn arrive(&mut self, me: usize, world: &mut World) {
        let next = world.random.u64(5..15) * MILLI;
        world.after(next, Event::Visit(me));
        world.report.requests += 1;
        world.visits += 1;
        let visit = Visit {
            is_post: world.random.u8(0..4) == 0,
            arrived: world.now,
            doing: Doing::Deciding,
            cut_once: false,
        };
        self.visits.insert(world.visits, visit);
        self.decide(me, world.visits, world);
    }

    /// To a side, to the held, or away with an error.
    fn decide(&mut self, me: usize, visit: u64, world: &mut World) {
        match self.view.mastership(self.clock.read(world.now)) {
            Mastership::Live { side, epoch, .. } => {
                let connection = Connection {
                    side,
                    opened_under: epoch,
                };
                match self.take_idle(connection, world) {
                    Some(idle) => self.send(me, visit, idle, epoch, world),
                    None => self.connect(me, visit, connection, world),
                }
            }
            Mastership::Switching { hold_ms, .. } => self.hold(me, visit, hold_ms, world),
            Mastership::Doubtful(_) | Mastership::Vacant { .. } => self.fail(visit, world),
        }
    }

    fn take_idle(&mut self, wanted: Connection, world: &World) -> Option<Connection> {
        let fits = |idle: &Connection| {
            !world.rules.pool_by_epoch
                || (idle.side, idle.opened_under) == (wanted.side, wanted.opened_under)
        };
        let place = self.idle.iter().position(fits)?;
        self.idle.remove(place)
    }

    fn connect(&mut self, me: usize, visit: u64, to: Connection, world: &mut World) {
        self.doing(visit, Doing::Connecting(to));
        let takes = world.random.u64(200..2_000);
        let life = self.life;
        world.after(
            takes,
            Event::Connected {
                edge: me,
                life,
                visit,
            },
        );
    }

    fn connected(&mut self, me: usize, visit: u64, world: &mut World) {
        let Some(Visit {
            doing: Doing::Connecting(connection),
            arrived,
            ..
        }) = self.visits.get(&visit)
        else {
            return;
        };
        let (connection, arrived) = (*connection, *arrived);
        let now = self.view.mastership(self.clock.read(world.now));
        let holds = matches!(now, Mastership::Live { side, epoch, .. }
            if (side, epoch) == (connection.side, connection.opened_under));
        if !holds && world.rules.looks_again {
            return self.decide(me, visit, world);
        }
        if world.accepts(connection.side) {
            return self.send(me, visit, connection, connection.opened_under, world);
        }
        // Refused. The other side is never tried; the same one is, for a while.
        if world.now - arrived > 5 * SECOND {
            return self.fail(visit, world);
        }
        let life = self.life;
        world.after(
            RETRY,
            Event::Connected {
                edge: me,
                life,
                visit,
            },
        );
    }

    fn send(&mut self, me: usize, visit: u64, over: Connection, epoch: Epoch, world: &mut World) {
        let is_post = self.visits[&visit].is_post;
        let taken = world.accepts(over.side);
        let sent = Sent {
            at: world.now,
            visit,
            is_post,
            side: over.side,
            opened_under: over.opened_under,
            accepted: taken,
        };
        let state = world.state();
        let lease_us = World::lease_us();
        let World {
            processed, report, ..
        } = world;
        self.witness.sent(&sent, state, lease_us, processed, report);
        let doing = Doing::Exchange {
            connection: over,
            epoch,
            taken,
        };
        self.doing(visit, doing);
        let slow = world.random.u8(0..50) == 0;
        let longest = if world.plan.faults { 2 * GRACE } else { GRACE };
        let takes = if slow {
            world.random.u64(MILLI..longest)
        } else {
            world.random.u64(1_000..20_000)
        };
        let life = self.life;
        world.after(
            takes,
            Event::Answered {
                edge: me,
                life,
                visit,
            },
        );
    }

    fn answered(&mut self, visit: u64, world: &mut World) {
        let Some(Visit {
            doing:
                Doing::Exchange {
                    connection,
                    epoch,
                    taken,
                },
            is_post,
            ..
        }) = self.visits.get(&visit)
        else {
            return;
        };
        let (connection, epoch, taken, is_post) = (*connection, *epoch, *taken, *is_post);
        if !taken {
            return self.fail(visit, world); // the idle connection led to a side that is gone
        }
        if !is_post {
            self.store(epoch, world);
        }
        self.visits.remove(&visit);
        if self.idle.len() == IDLE_MAX {
            self.idle.pop_front();
        }
        self.idle.push_back(connection);
    }

    fn store(&self, fetched_under: Epoch, world: &mut World) {
        if world.rules.admits_by_epoch && !self.view.admits(fetched_under) {
            world.report.not_admitted += 1;
        } else {
            self.witness.stored(fetched_under, &mut world.report);
        }
    }

    fn hold(&mut self, me: usize, visit: u64, hold_ms: u64, world: &mut World) {
        let arrived = self.visits[&visit].arrived;
        let over = (arrived + hold_ms * MILLI).saturating_sub(world.now);
        if self.held.len() >= HELD_MAX || over == 0 {
            return self.fail(visit, world);
        }
        world.report.held += 1;
        self.held.push(visit);
        self.doing(visit, Doing::Held { since: world.now });
        let life = self.life;
        world.after(
            over,
            Event::HoldOver {
                edge: me,
                life,
                visit,
            },
        );
    }

    fn hold_over(&mut self, visit: u64, world: &mut World) {
        if let Some(place) = self.held.iter().position(|held| *held == visit) {
            self.held.swap_remove(place);
            self.fail(visit, world);
        }
    }

    /// Something changed: who is held asks again.
    fn wake(&mut self, me: usize, world: &mut World) {
        if self.held.len() > HELD_MAX {
            world
                .report
                .breach("I12", "more are held than there are places");
        }
        for visit in std::mem::take(&mut self.held) {
            self.note_hold(visit, world);
            self.decide(me, visit, world);
        }
    }

    /// By how much the hold outlasted the switch.
    fn note_hold(&self, visit: u64, world: &mut World) {
        let Doing::Held { since } = self.visits[&visit].doing else {
            return;
        };
        let served = world.latest().phase.master().is_some();
        if served && since < world.committed_at[world.latest_index()] {
            let over = world.now - world.committed_at[world.latest_index()];
            world.report.held_over_us = world.report.held_over_us.max(over);
        }
    }

    fn fail(&mut self, visit: u64, world: &mut World) {
        self.visits.remove(&visit);
        world.report.failed += 1;
    }

    fn doing(&mut self, visit: u64, doing: Doing) {
        if let Some(visit) = self.visits.get_mut(&visit) {
            visit.doing = doing;
        }
    }

    fn poll(&mut self, me: usize, world: &mut World) {
        let every = World::lease_ms() * MILLI / 3;
        let next = every * world.random.u64(90..110) / 100;
        let life = self.life;
        world.after(next, Event::Poll { edge: me, life });
        let sent = world.now;
        if let Some(round_trip) = world.read(sent < self.cut_off_until, sent < self.slow_until) {
            // The oldest state that a linearizable read may show: the one at its sending.
            let shows = world.latest_index();
            let reply = Event::Reply {
                edge: me,
                life,
                sent,
                shows,
            };
            world.after(round_trip, reply);
        }
    }

    fn reply(&mut self, me: usize, sent: u64, shows: usize, world: &mut World) {
        if world.now < self.cut_off_until {
            return;
        }
        let anchor = if world.rules.lease_from_sending {
            sent
        } else {
            world.now
        };
        if world.store[shows].epoch >= self.view.highest() {
            self.witness.read(sent);
        }
        let sent = self.clock.read(anchor);
        self.observe(me, shows, Source::Read { sent }, world);
    }

    fn observe(&mut self, me: usize, shows: usize, source: Source, world: &mut World) {
        let document = world.store[shows].clone();
        let now = self.clock.read(world.now);
        let (phase, planned) = (document.phase, document.is_planned());
        let change = self.view.observe(document, source, now);
        if let Change::Adopted(epoch) = change {
            self.witness.saw(epoch, phase, &mut world.report);
            self.record = self.view.record();
            if planned {
                let life = self.life;
                world.after(
                    GRACE,
                    Event::Cut {
                        edge: me,
                        life,
                        below: epoch,
                    },
                );
            } else {
                self.cut(me, epoch, world);
            }
        }
        self.wake(me, world);
    }

    /// Ends the exchanges of older epochs. What may have been processed is not sent again, but for safe requests, and those once.
    fn cut(&mut self, me: usize, below: Epoch, world: &mut World) {
        let is_old =
            |visit: &Visit| matches!(visit.doing, Doing::Exchange { epoch, .. } if epoch < below);
        let mut old: Vec<u64> = (self.visits.iter())
            .filter(|(_, visit)| is_old(visit))
            .map(|(number, _)| *number)
            .collect();
        old.sort_unstable();
        for number in old {
            world.report.cut += 1;
            let again = self.visits.get_mut(&number).is_some_and(|visit| {
                let again = !visit.is_post && !visit.cut_once;
                visit.cut_once = true;
                visit.doing = Doing::Deciding;
                again
            });
            if again {
                self.decide(me, number, world);
            } else {
                self.fail(number, world);
            }
        }
    }

    fn mishap(&mut self, me: usize, world: &mut World) {
        let next = world.random.u64(1_000..8_000) * MILLI;
        world.after(next, Event::Mishap(me));
        match world.random.u8(0..6) {
            0 => self.restart(me, world),
            1 => self.paused_until = world.now + world.random.u64(100..6_000) * MILLI,
            2 => self.slow_until = world.now + world.random.u64(2_000..10_000) * MILLI,
            3 | 4 => self.cut_off_until = world.now + world.random.u64(500..10_000) * MILLI,
            _ => {}
        }
    }

    /// Killed and started again: only the disk is left.
    fn restart(&mut self, me: usize, world: &mut World) {
        world.report.restarts += 1;
        let record = self
            .record
            .clone()
            .filter(|_| world.rules.remembers_over_restarts);
        self.view = record.map_or_else(View::default, View::resumed);
        self.visits.clear();
        self.held.clear();
        self.idle.clear();
        self.witness.restarted();
        self.life += 1;
        let life = self.life;
        let begins = world.random.u64(0..500) * MILLI;
        world.after(begins, Event::Poll { edge: me, life });
    }
}
