// Loaded before each test file in a campaign: every fast-check property starts from the printed seed.
import fc from 'fast-check'

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env['KEYTURN_CAMPAIGN_SEED']) })
