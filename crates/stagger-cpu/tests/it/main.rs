//! Engine `cpu` holds what every engine has to hold.

stagger_conformance::conformance!(stagger_cpu::Cpu);
