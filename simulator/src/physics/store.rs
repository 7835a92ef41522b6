//! Stores of heat: well-mixed volumes and pipes.

/// A well-mixed volume (air of an aisle, water of a basin, metal of a rack).
#[derive(Debug, Clone)]
pub struct Volume {
    /// Heat capacity, kJ/K.
    pub capacity: f64,
    /// Temperature, degC.
    pub temp: f64,
}

impl Volume {
    pub fn new(capacity: f64, temp: f64) -> Self {
        Self { capacity, temp }
    }

    /// One step of `C dT/dt = G (T_in - T) + q`: `conductance` G in kW/K carries `inlet` in and the
    /// new temperature out; `heat` q in kW is added. Returns the new temperature.
    pub fn step(&mut self, dt: f64, conductance: f64, inlet: f64, heat: f64) -> f64 {
        self.temp = (self.capacity * self.temp + dt * (conductance * inlet + heat))
            / (self.capacity + dt * conductance);
        self.temp
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self) -> f64 {
        self.capacity * self.temp
    }
}

const CELLS: usize = 8;

/// A pipe as tanks in series: a transport delay of volume / flow with some axial mixing, like a real
/// run with bends and branches.
#[derive(Debug, Clone)]
pub struct Pipe {
    cells: [f64; CELLS],
    /// Heat capacity of one cell, kJ/K.
    capacity: f64,
}

impl Pipe {
    /// `capacity` is the heat capacity of the whole content, kJ/K.
    pub fn new(capacity: f64, temp: f64) -> Self {
        Self { cells: [temp; CELLS], capacity: capacity / CELLS as f64 }
    }

    /// Pushes water of `inlet` degC in with a capacity flow of `conductance` kW/K; returns what
    /// leaves.
    pub fn step(&mut self, dt: f64, conductance: f64, inlet: f64) -> f64 {
        let mut entering = inlet;
        for cell in &mut self.cells {
            *cell =
                (self.capacity * *cell + dt * conductance * entering) / (self.capacity + dt * conductance);
            entering = *cell;
        }
        entering
    }

    /// Temperature at the far end, degC.
    pub fn outlet(&self) -> f64 {
        self.cells[CELLS - 1]
    }

    /// Heat held above 0 degC, kJ.
    pub fn heat(&self) -> f64 {
        self.capacity * self.cells.iter().sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_decays_to_its_inlet_at_its_time_constant() {
        // C = 100 kJ/K, G = 1 kW/K: tau = 100 s, after tau 63.2 % of the way.
        let mut v = Volume::new(100.0, 0.0);
        for _ in 0..1000 {
            v.step(0.1, 1.0, 10.0, 0.0);
        }
        assert!((v.temp - 6.321).abs() < 0.01, "{}", v.temp);
    }

    #[test]
    fn pipe_delays_a_front_by_volume_over_flow() {
        // 900 kJ/K at 10 kW/K: 90 s until half of a step has arrived (tanks in series: a bit before).
        let mut pipe = Pipe::new(900.0, 10.0);
        let mut half = 0.0;
        while pipe.step(1.0, 10.0, 20.0) < 15.0 {
            half += 1.0;
        }
        assert!((80.0..95.0).contains(&half), "{half}");
    }

    #[test]
    fn a_stopped_pipe_keeps_its_heat() {
        let mut pipe = Pipe::new(900.0, 10.0);
        pipe.step(1.0, 10.0, 20.0);
        let before = pipe.heat();
        pipe.step(1.0, 0.0, 99.0);
        assert!((pipe.heat() - before).abs() < 1e-9);
    }
}
