//! The ladder of correctness on the default engine.

crate::ladder::rungs!(stagger_cpu::CpuStage);
