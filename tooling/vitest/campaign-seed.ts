// Loaded before each test file in a campaign: every property of fast-check starts from the seed that was printed.
import fc from 'fast-check'

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['KEYTURN_CAMPAIGN_SEED']) })
