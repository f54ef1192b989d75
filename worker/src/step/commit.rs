//! The end of a step: all ranks agree, then everything moves together.

use super::{Losses, Outcome, Trainer};
use crate::error::{Error, Result};
use crate::schedule;
use crate::vote::{Ballot, Verdict, Wishes};
use std::collections::BTreeMap;
use tch::Tensor;

impl Trainer {
    /// One small all-reduce that every rank enters only with its gradients complete.
    pub(super) fn vote(&mut self, losses: &Losses, wishes: Wishes) -> Result<Verdict> {
        let gradients: Vec<Tensor> = self.state.student.tensors().iter().map(Tensor::grad).collect();
        let norm = c10d::optim::global_norm(&gradients)?;
        let losses = &losses;
        let ballot =
            Ballot { losses: losses.sums.each_ref().map(Tensor::detach), rows: losses.rows, norm, wishes };
        ballot.cast(&mut self.group)
    }

    /// Weights, optimizer, temperature, teacher, queue and counters move together.
    pub(super) fn commit(&mut self, losses: Losses, verdict: Verdict) -> Result<Outcome> {
        if let Some(what) = verdict.not_finite {
            return Err(Error::NotFinite { step: self.state.step.next(), what });
        }
        let (objective, optimizer) = (&self.config.objective, &self.config.optimizer);
        let learning_rate = schedule::learning_rate(optimizer, self.steps_per_epoch, self.state.step);
        let clip = optimizer.clip_norm;
        let factor = if clip > 0.0 { (clip / (verdict.norm + 1e-6)).min(1.0) } else { 1.0 };
        let scalars = BTreeMap::from([
            ("loss", verdict.itc + verdict.itm + verdict.mlm),
            ("loss_itc", verdict.itc),
            ("loss_itm", verdict.itm),
            ("loss_mlm", verdict.mlm),
            ("gradient_norm", verdict.norm),
            ("learning_rate", learning_rate),
            ("alpha", self.alpha()),
            ("temperature", self.student.temp.double_value(&[])),
            ("queue_filled", self.state.queue.counters().1 as f64),
        ]);

        let _guard = tch::no_grad_guard();
        self.state.optimizer.update(optimizer, learning_rate, factor)?;
        let _ = self.student.temp.clamp_(objective.min_temperature, objective.max_temperature);
        c10d::optim::lerp(&self.state.teacher.tensors(), &self.averaged, 1.0 - objective.momentum)?;
        self.state.queue.push(&losses.batch.features, &losses.batch.identities);
        self.state.step = self.state.step.next();
        Ok(Outcome { step: self.state.step, scalars, wishes: verdict.wishes })
    }
}
