"""Does the residual stream stay stable: loss, gradients, gains by depth, and what was done about them."""

from page import page
from panel import curves, heat, number, profile
from query import by_depth, increase, of_attempt, of_job

LEGEND = "{{job_id}} ({{residual}})"
SKIPPED = 'kind="skipped_step"'


def _verdict():
    state = of_job("birkhoff_job_state")
    return [
        number("State", "The state that each job is in.", "none", f"{state} == 1", "{{job_id}}: {{state}}",
               alerts=["BirkhoffJobFailed", "BirkhoffJobDoesNotStart"], names=True),
        number("Step", "Number of the last step.", "locale", of_job("birkhoff_training_step")),
        number("Progress", "Share of the planned steps that is done.", "percentunit",
               f"{of_job('birkhoff_training_step')} / {of_job('birkhoff_training_steps_planned')}"),
        number("Composite gain", "Largest composite Amax gain of the last minute, over depth and directions. mHC stays "
               "near 1.6; above stability.max_gain it pages.", "none",
               f"max without (direction) ({of_job('birkhoff_amax_gain_window_max')})",
               alerts=["BirkhoffAmaxGainHigh", "BirkhoffAmaxGainAboveBound"],
               limits=[(3, "orange"), (10, "red")], decimals=2),
        number("Steps skipped", "Steps in the last hour whose loss or gradient was not finite; the weights were left "
               "alone.", "none", f"increase({of_job('birkhoff_stability_events_total', SKIPPED)}[1h])",
               alerts=["BirkhoffStepSkipped", "BirkhoffStepsSkippedRepeatedly"], limits=[(0.5, "red")], decimals=0),
        number("Last checkpoint", "How long ago the last checkpoint was committed.", "s",
               f"time() - {of_job('birkhoff_checkpoint_last_success_timestamp_seconds')}",
               alerts=["BirkhoffCheckpointStale"], decimals=0),
    ]


def _loss():
    return [
        curves("Loss", "Training loss of the last step, the largest of the last minute (which no scrape misses), and the "
               "last validation, in nats per token.", "none",
               [(of_attempt(of_job("birkhoff_training_loss")), LEGEND),
                (of_attempt(of_job("birkhoff_training_loss_window_max")), LEGEND + " max in 60 s"),
                (of_attempt(of_job("birkhoff_validation_loss")), LEGEND + " validation")],
               alerts=["BirkhoffLossSpike", "BirkhoffLossSpikesRepeatedly"]),
        curves("Gradient norm", "Global norm before clipping: of the last step, and the largest of the last minute.", "none",
               [(of_attempt(of_job("birkhoff_gradient_norm")), LEGEND),
                (of_attempt(of_job("birkhoff_gradient_norm_window_max")), LEGEND + " max in 60 s")],
               alerts=["BirkhoffGradientNormSpikes", "BirkhoffGradientNormDrift", "BirkhoffGradientNormVanishing"],
               log=True),
        curves("Learning rate", "Learning rate of the last step.", "none",
               [(of_attempt(of_job("birkhoff_learning_rate")), LEGEND)]),
        curves("Stability events", "Steps that were skipped, spiked, or had a gain above the bound, as they were counted.",
               "none", [(f"sum by (job_id, kind) ({increase(of_job('birkhoff_stability_events_total'))})",
                         "{{job_id}} {{kind}}")],
               alerts=["BirkhoffStepSkipped", "BirkhoffLossSpike"], bars=True, from_zero=True),
    ]


def _gains():
    def composite(direction):
        return of_job("birkhoff_amax_gain", f'direction="{direction}"')

    def single(direction):
        return of_job("birkhoff_amax_gain_single", f'direction="{direction}"')

    def over_depth(series):
        return f"max by (sublayer) ({series})"

    return [
        curves("Composite gain", "How much a signal may grow on its way through the depth (forward) and a gradient on its way "
               "back (backward): the largest over sub-layers and the last minute.", "none",
               [(of_attempt(of_job("birkhoff_amax_gain_window_max")), LEGEND + " {{direction}}"),
                           (of_job("birkhoff_amax_gain_bound"), "{{job_id}} bound")],
               alerts=["BirkhoffAmaxGainHigh", "BirkhoffAmaxGainAboveBound", "BirkhoffAmaxGainRising"], log=True,
               limits=[(3, "orange"), (10, "red")]),
        curves("Sinkhorn residual", "Distance from 1 of the worst row or column sum of H_res: what 20 iterations leave of "
               "the constraint. mHC only.", "none",
               [(of_attempt(of_job("birkhoff_sinkhorn_residual")), LEGEND),
                (of_attempt(of_job("birkhoff_sinkhorn_residual_window_max")), LEGEND + " max in 60 s")],
               alerts=["BirkhoffSinkhornResidualHigh"]),
        heat("Composite forward gain by depth: $job_id", "Each row is a sub-layer, the first at the bottom: how much a signal "
             "may have grown between the embedding and it.", by_depth(composite("forward")), "{{depth}}",
             alerts=["BirkhoffAmaxGainHigh"], repeat="job_id"),
        heat("Composite backward gain by depth: $job_id", "Each row is a sub-layer, the first at the bottom: how much a "
             "gradient may have grown between the head and it.", by_depth(composite("backward")), "{{depth}}",
             alerts=["BirkhoffAmaxGainHigh"], repeat="job_id"),
        profile("Composite gain over depth, now", "The same as curves: the largest of the chosen jobs at each sub-layer.",
                "none", [(over_depth(composite("forward")), "forward"), (over_depth(composite("backward")), "backward")],
                "sublayer", alerts=["BirkhoffAmaxGainHigh"], log=True),
        profile("Gain of single sub-layers, now", "Gain of H_res of each sub-layer alone: which one the product owes its growth "
                "to.", "none", [(over_depth(single("forward")), "forward"), (over_depth(single("backward")), "backward")],
                "sublayer", alerts=["BirkhoffSinkhornResidualHigh"]),
    ]


def _mixing():
    def of(*names):
        return [(of_attempt(of_job(name)), f"{LEGEND} {words}") for name, words in names]

    return [
        curves("Mixing of the streams", "Mass of H_res off its diagonal (0: the streams are not mixed), and the largest softmax "
               "weight before Sinkhorn (1: a frozen permutation, through which no gradient passes); means over sub-layers.",
               "percentunit", of(("birkhoff_off_diagonal_mass", "off the diagonal"),
                                 ("birkhoff_mixing_saturation", "saturation"))),
        curves("Saturation of H_pre and H_post", "Share of the gates within 1 % of their range of an end of it: they no longer "
               "learn. Mean over sub-layers; mHC only.", "percentunit",
               of(("birkhoff_read_saturation", "H_pre"), ("birkhoff_write_saturation", "H_post"))),
        curves("Similarity of the streams", "Mean cosine of the streams after the last sub-layer; at 1 they have collapsed into "
               "one.", "none", of(("birkhoff_stream_similarity", ""))),
        curves("Distance of the composite", "Of the product of all H_res: from the identity (0: streams never met) and from the "
               "uniform matrix (0: they are averaged).", "none",
               of(("birkhoff_identity_distance", "from the identity"),
                  ("birkhoff_uniform_distance", "from uniform"))),
        curves("Column residual", "Distance from 1 of the worst column sum of H_res: what Sinkhorn's iterations left, the "
               "largest over sub-layers.", "none", of(("birkhoff_column_residual", "")),
               alerts=["BirkhoffSinkhornResidualHigh"], log=True),
    ]


def _side_by_side():
    def compare(title, description, fold, name, log=False):
        return curves(title, description, "none",
                      [(f"{fold} by (residual) ({of_attempt(of_job(name))})", "{{residual}}")], size=(8, 8), log=log)

    return [
        compare("Loss: residual, HC, mHC", "Mean over the chosen jobs of each kind of residual stream.", "avg",
                "birkhoff_training_loss"),
        compare("Gradient norm: residual, HC, mHC", "Largest of the last minute, over the chosen jobs of each kind.", "max",
                "birkhoff_gradient_norm_window_max", log=True),
        compare("Composite gain: residual, HC, mHC", "Largest of the last minute, over the chosen jobs of each kind.", "max",
                "birkhoff_amax_gain_window_max", log=True),
    ]


def build():
    return page("birkhoff-stability", "Stability",
                "Loss, gradient norm, composite Amax gain by depth, skipped steps and spikes of training jobs.",
                [("Verdict", _verdict()), ("Loss and gradient", _loss()), ("Gain by depth", _gains()),
                 ("Mixing", _mixing()), ("Side by side", _side_by_side())])
