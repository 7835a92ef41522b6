"""Makes the model that Isotherm ships: latent attention, distilled from a numeric teacher."""
