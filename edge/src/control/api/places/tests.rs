//! Floods, and who is still there after them.

use super::*;
use crate::clock;

fn who(address: &str) -> Who {
    Who::at(address.parse().expect("an address"))
}

/// One of the many networks that somebody with a /48 has.
fn of_48(number: u16) -> Who {
    who(&format!("2001:db8:0:{number:x}::1"))
}

/// A listener with so many places, at the beginning of time.
struct Scene {
    places: Arc<Places>,
    now: Instant,
}

impl Scene {
    fn new(max: usize) -> Self {
        Self {
            places: Places::new(max),
            now: clock::monotonic(),
        }
    }

    fn enter(&self, who: Who) -> Place {
        self.places.enter(who, self.now).expect("a place")
    }

    /// Somebody comes, and shows a token at once.
    fn known(&self, who: Who, name: &str) -> Place {
        let place = self.enter(who);
        let principal = match name {
            "admin" => Principal::admin(name),
            name => Principal::new(name, []),
        };
        place.shown(&principal, self.now);
        place
    }
}

async fn is_cut(place: &Place) -> bool {
    let cut = tokio::time::timeout(Duration::from_millis(1), place.is_cut());
    cut.await.is_ok()
}

#[tokio::test]
async fn one_of_where_the_most_come_from_gives_way() {
    let scene = Scene::new(4);
    let own = scene.enter(who("192.0.2.1"));
    let flood = [(); 3].map(|()| scene.enter(who("192.0.2.9")));
    let more = scene.enter(who("192.0.2.9"));
    let mut cut = 0;
    for place in &flood {
        cut += usize::from(is_cut(place).await);
    }
    assert_eq!(cut, 1);
    for place in [&own, &more] {
        assert!(!is_cut(place).await);
    }
    drop(flood);
    assert_eq!(scene.places.state.lock().taken.len(), 2);
}

#[tokio::test]
async fn strangers_from_many_addresses_give_way_before_who_is_known() {
    let scene = Scene::new(5);
    let own = [(); 2].map(|()| scene.known(who("192.0.2.1"), "admin"));
    let _strangers: Vec<_> = (0..40).map(|number| scene.enter(of_48(number))).collect();
    for place in &own {
        assert!(!is_cut(place).await);
    }
}

#[tokio::test]
async fn who_showed_a_token_lately_is_not_cut_before_it_shows_it_again() {
    let mut scene = Scene::new(8);
    drop(scene.known(who("192.0.2.1"), "admin"));
    scene.now += REMEMBERED_FOR - Duration::from_secs(1);
    let check = async |scene: &Scene, flood: &dyn Fn(u16) -> Place| {
        let before: Vec<_> = (0..50).map(flood).collect();
        let own = scene.enter(who("192.0.2.1"));
        let after: Vec<_> = (50..1_000).map(flood).collect();
        let is_cut = is_cut(&own).await;
        drop((before, after));
        is_cut
    };
    let strangers = |number| scene.enter(of_48(number));
    assert!(!check(&scene, &strangers).await, "strangers");
    // Each network is remembered, if only for a while; but they are all one's.
    let known = |number| scene.known(of_48(number), "token:shop");
    assert!(!check(&scene, &known).await, "who has a token, too");
    let guests = |number: u16| {
        drop(scene.known(of_48(number % 20), "token:shop"));
        scene.enter(of_48(number % 20))
    };
    assert!(!check(&scene, &guests).await, "guests of who has a token");
    scene.now += Duration::from_secs(1);
    let strangers = |number| scene.enter(of_48(number));
    assert!(check(&scene, &strangers).await, "that was too long ago");
}

#[tokio::test]
async fn who_never_came_before_has_a_chance_to_show_a_token() {
    let scene = Scene::new(64);
    let mut flood: Vec<_> = (0..64).map(|number| scene.enter(of_48(number))).collect();
    let mut survived = 0;
    for round in 0..200 {
        let own = scene.enter(who("192.0.2.1"));
        // As many come as there are places, before it has shown its token.
        flood = (0..64)
            .map(|number| scene.enter(of_48(round * 64 + number)))
            .collect();
        survived += u32::from(!is_cut(&own).await);
    }
    drop(flood);
    // A little more than a third of two hundred. That there are fewer than twenty is less likely than one in 10^15.
    assert!(survived > 20, "{survived}");
}

#[tokio::test]
async fn who_is_quick_is_not_cut() {
    let scene = Scene::new(64);
    let mut flood: Vec<_> = (0..64).map(|number| scene.enter(of_48(number))).collect();
    for round in 1..20 {
        let own = [(); 3].map(|()| scene.enter(who(&format!("192.0.2.{round}"))));
        flood.extend((0..29).map(|number| scene.enter(of_48(64 * round + number))));
        for own in own {
            assert!(!is_cut(&own).await, "{round}");
            flood.push(own);
        }
    }
}

#[tokio::test]
async fn who_is_known_and_holds_the_most_gives_way_to_strangers() {
    let scene = Scene::new(4);
    let known = [(); 4].map(|()| scene.known(who("192.0.2.1"), "token:shop"));
    let stranger = scene.enter(Who::Uid(Some(0)));
    let another = scene.enter(who("192.0.2.9"));
    assert!(is_cut(&known[0]).await && is_cut(&known[1]).await);
    for place in [&known[2], &known[3], &stranger, &another] {
        assert!(!is_cut(place).await);
    }
}

#[tokio::test]
async fn who_runs_a_call_keeps_its_place_and_who_is_still_sending_it_does_not() {
    let scene = Scene::new(2);
    let busy = scene.known(who("192.0.2.9"), "token:shop");
    let running = busy.run();
    let idle = scene.enter(Who::Uid(Some(0)));
    let next = scene.known(who("192.0.2.9"), "token:other");
    assert!(is_cut(&idle).await && !is_cut(&busy).await);
    let other = next.run();
    assert!(scene.places.enter(who("192.0.2.9"), scene.now).is_none());
    drop(running);
    let _third = scene.enter(who("192.0.2.9"));
    assert!(is_cut(&busy).await);
    drop(other);
}

#[test]
fn what_is_remembered_has_bounds_and_one_s_networks_are_its_own() {
    let mut scene = Scene::new(1);
    drop(scene.known(who("192.0.2.1"), "admin"));
    let names = |scene: &Scene| -> BTreeMap<String, usize> {
        let mut names = BTreeMap::new();
        for of in scene.places.state.lock().remembered.values() {
            *names.entry(of.name.to_string()).or_default() += 1;
        }
        names
    };
    for number in 0..100 {
        drop(scene.known(of_48(number), "token:shop"));
    }
    assert_eq!(names(&scene)["token:shop"], REMEMBERED_OF_ONE);
    // Behind the same address: it stays the operator's.
    drop(scene.known(who("192.0.2.1"), "token:shop"));
    for number in 0..2_000 {
        scene.now += Duration::from_secs(1);
        drop(scene.known(of_48(1_000 + number), &format!("token:{number}")));
    }
    let names = names(&scene);
    assert_eq!(names["admin"], 1);
    assert!(!names.contains_key("token:0"), "the oldest goes");
    assert_eq!(names.values().sum::<usize>(), REMEMBERED_MAX);
}

#[test]
fn a_machine_counts_once_however_many_addresses_it_has() {
    assert_eq!(who("2001:db8::1"), who("2001:db8::ffff:1"));
    assert_ne!(who("2001:db8::1"), who("2001:db8:0:1::1"));
    assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
    assert_ne!(who("192.0.2.1"), who("192.0.2.2"));
}
