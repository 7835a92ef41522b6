//! What comes of setpoints and loads, model by model.

use super::added::{Added, Places};
use super::drive::{Conditions, Inputs, Layout};
use super::model::{Course, STEPS};
use super::{Core, Output};

/// All that a course depends on beside what has been learned and the present.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) layout: &'a Layout,
    pub(super) outputs: &'a [Output],
    pub(super) places: &'a Places,
    pub(super) added: &'a Added,
    /// IT load at each step to come, kW, where it is known.
    pub(super) told: Option<[f64; STEPS]>,
}

impl Core {
    /// What comes of setpoints, one row a step and the last one for the rest, by model: first the load, then
    /// the water, then what depends on them, place by place where they are loaded differently.
    pub(super) fn courses(
        &self,
        scene: &Scene<'_>,
        inputs: &Inputs,
        rows: &[Vec<f64>],
    ) -> Vec<Option<Course>> {
        let Scene { layout, outputs, places, added, told } = *scene;
        let mut path: [Conditions; STEPS] = Default::default();
        let row = |k: usize| rows.get(k).or(rows.last()).unwrap_or(&inputs.setpoints);
        for (k, c) in path.iter_mut().enumerate() {
            self.machines.follow(layout, row(k), inputs, inputs.load, None, c);
        }
        let course = |i: usize, path: &_| Some(self.models.get(i)?.as_ref()?.course(path, &self.flows));
        let mut courses = vec![None; self.models.len()];
        courses[0] = course(0, &path);
        let load = |k: usize, place: Option<usize>, courses: &[Option<Course>]| {
            let own = courses.first().and_then(|c| c.as_ref()?.values.get(k));
            let own = told.as_ref().and_then(|t| t.get(k)).or(own);
            own.map_or(inputs.load, |v| v.max(0.0)) + places.seen(added, place, k)
        };
        for (k, c) in path.iter_mut().enumerate() {
            c.load = load(k, None, &courses) / self.machines.load;
        }
        let waters: Vec<usize> =
            outputs.iter().enumerate().filter(|(_, o)| o.is_water()).map(|(i, _)| i + 1).collect();
        for &i in &waters {
            courses[i] = course(i, &path);
        }
        let water = |k: usize, courses: &[Option<Course>]| {
            let values: Vec<f64> =
                waters.iter().filter_map(|i| Some(*courses[*i].as_ref()?.values.get(k)?)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        // A hottest chip or inlet of no place may be in the one that is loaded most.
        let worst = places.worst(added);
        let place_of = |o: &Output| o.place.or(worst.filter(|_| o.is_beside_it()));
        // Without added load all places are alike.
        let apart = if added.is_none() { 0 } else { places.len() };
        for place in std::iter::once(None).chain((0..apart).map(Some)) {
            for (k, c) in path.iter_mut().enumerate() {
                let (load, water) = (load(k, place, &courses), water(k, &courses));
                self.machines.follow(layout, row(k), inputs, load, water, c);
            }
            for (i, output) in outputs.iter().enumerate() {
                let here = apart == 0 || place_of(output) == place;
                if here && !output.is_water() {
                    courses[i + 1] = course(i + 1, &path);
                }
            }
        }
        courses
    }
}
