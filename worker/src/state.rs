//! Everything that changes the next loss, in one place: student, teacher, optimizer, queue and step.

use crate::course::Course;
use crate::error::Result;
use crate::models::albef::{Albef, averaged};
use crate::optimizer::Optimizer;
use crate::queue::Queue;
use crate::weights::Weights;
use proto::{GlobalStep, RunConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// The committed state of a run. Only the commit of a step changes it.
///
/// Between steps it stands where the published loop stands after its in-place preparations: the temperature is clamped and the
/// teacher has taken its average of the student, so that a step reads state and changes none.
#[derive(Debug)]
pub struct State {
    /// Trained parameters by published name, temperature and matching head among them.
    pub student: Weights,
    /// Their moving average, where they have one.
    pub teacher: Weights,
    /// Moments.
    pub optimizer: Optimizer,
    /// Past teacher features.
    pub queue: Queue,
    /// Committed steps.
    pub step: GlobalStep,
    /// How the losses have been going.
    pub course: Course,
    /// The student's parameter of that name.
    temperature: Tensor,
}

/// The small part of a [`State`], beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Committed updates.
    pub step: GlobalStep,
    /// Updates of the optimizer.
    pub optimizer_step: u64,
    /// Where the queue's next feature goes.
    pub queue_pointer: i64,
    /// Features in the queue.
    pub queue_filled: i64,
    /// Moving average of the loss: the bits of an f64, which JSON does not keep.
    pub loss_average: u64,
    /// Updates that it is over.
    pub loss_updates: u64,
    /// Anomalies since the last update.
    pub anomalies: u32,
}

impl State {
    /// The state before the first step, all of it drawn; the teacher is the student's copy.
    ///
    /// # Errors
    /// Those of tensor operations.
    pub fn new(config: &RunConfig, device: Device) -> Result<Self> {
        let student = Albef::fresh(&config.model, &config.objective, config.run.seed)?;
        let teacher = student.copy_where(averaged);
        Ok(Self::begin(config, student, teacher, device))
    }

    /// The state before the first step, with these weights.
    pub fn begin(config: &RunConfig, student: Weights, teacher: Weights, device: Device) -> Self {
        let queue = Queue::new(
            config.objective.queue.into(),
            config.model.embed_width.into(),
            config.objective.queue_start,
            config.run.seed,
            Kind::Float,
        );
        Self::from_parts(student, teacher, queue, config.optimizer.decay_positions, device)
    }

    /// A state of given weights and queue, with fresh moments.
    pub fn from_parts(
        student: Weights,
        teacher: Weights,
        queue: Queue,
        decay_positions: bool,
        device: Device,
    ) -> Self {
        let student = student.to_device(device).trained();
        let optimizer = Optimizer::new(&student, decay_positions);
        Self {
            teacher: teacher.to_device(device),
            optimizer,
            queue: queue.to_device(device),
            step: GlobalStep(0),
            course: Course::default(),
            temperature: student.get("temp").map_or_else(Tensor::new, Tensor::shallow_clone),
            student,
        }
    }

    /// All tensors by name, below `student/`, `teacher/`, `optimizer/` and `queue/`. Handles to the live tensors: copy before
    /// the next step.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let mut all = BTreeMap::new();
        let mut add = |prefix: &str, name: &str, tensor: &Tensor| {
            all.insert(format!("{prefix}/{name}"), tensor.detach());
        };
        self.student.iter().for_each(|(name, tensor)| add("student", name, tensor));
        self.teacher.iter().for_each(|(name, tensor)| add("teacher", name, tensor));
        self.optimizer.moments().iter().for_each(|(name, tensor)| add("optimizer", name, tensor));
        self.queue.rings().iter().for_each(|(name, tensor)| add("queue", name, tensor));
        all
    }

    /// What [`tensors`](Self::tensors) lacks.
    pub fn counters(&self) -> Counters {
        let (queue_pointer, queue_filled) = self.queue.counters();
        let Course { average, updates, anomalies } = self.course;
        Counters {
            step: self.step,
            optimizer_step: self.optimizer.step(),
            queue_pointer,
            queue_filled,
            loss_average: average.to_bits(),
            loss_updates: updates,
            anomalies,
        }
    }

    /// Takes up what [`counters`](Self::counters) told; the tensors are those that belong to it.
    pub fn set_counters(&mut self, counters: Counters) {
        self.optimizer.set_step(counters.optimizer_step);
        self.queue.set_counters(counters.queue_pointer, counters.queue_filled);
        self.step = counters.step;
        let (average, updates) = (f64::from_bits(counters.loss_average), counters.loss_updates);
        self.course = Course { average, updates, anomalies: counters.anomalies };
    }

    /// The temperature of the contrastive similarities, a scalar: a handle.
    pub fn temperature(&self) -> Tensor {
        self.temperature.shallow_clone()
    }

    /// The trained parameters that the teacher averages, in the order of its tensors: handles.
    pub fn averaged(&self) -> Vec<Tensor> {
        let sources = self.student.iter().filter(|(name, _)| averaged(name));
        sources.map(|(_, tensor)| tensor.shallow_clone()).collect()
    }

    /// How far the teacher's parameters are from the student's, relative to these: the L2 norm of the difference over that of the student.
    pub fn teacher_drift(&self) -> f64 {
        let _guard = tch::no_grad_guard();
        let norm = |tensors: &[Tensor]| Tensor::stack(tensors, 0).to_kind(Kind::Double).norm();
        let students = self.averaged();
        let pairs = self.teacher.tensors().into_iter().zip(&students);
        // One after the other: all differences at once would be another model in memory.
        let apart: Vec<Tensor> = pairs.map(|(teacher, student)| (teacher - student).norm()).collect();
        let sizes: Vec<Tensor> = students.iter().map(Tensor::norm).collect();
        (norm(&apart) / norm(&sizes)).double_value(&[])
    }

    /// Takes up a state that [`tensors`](Self::tensors) and [`counters`](Self::counters) told.
    ///
    /// # Errors
    /// [`Error::Keys`](crate::Error::Keys) with every missing, unexpected or misshaped tensor; the state is then what it was.
    pub fn restore(&mut self, tensors: BTreeMap<String, Tensor>, counters: Counters) -> Result<()> {
        Weights::new(self.tensors()).copy_from(&Weights::new(tensors))?;
        self.set_counters(counters);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
