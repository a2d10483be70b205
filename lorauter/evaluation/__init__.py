"""The judge of routers: settings, systems, shares of the oracle, intervals. Pure: no engine, no file, no flow.

systems     which router runs with which composition in which setting
settings    routes of test queries when the true task is known, half known, or unknown (LORAUTER's protocol)
remembering the encoder that embeds a test query once for all routers
shares      means over items, tasks, domains; method ÷ oracle
intervals   paired bootstrap over items
"""
